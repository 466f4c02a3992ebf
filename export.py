# SPDX-License-Identifier: Apache-2.0
"""Write a checkpoint as a file for other runtimes: python export.py --ckpt_file=./checkpoint --file_name=deepfm"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(distributed=True)

import os

from mindspore import Tensor

from src.checkpoint import find_checkpoint
from src.common.errors import UserError, run_main
from src.common.memory_estimate import prediction_bytes
from src.common.memory_limits import Work, check_fits
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.distributed.device import set_up
from src.export.formats import check_wanted, open_exported, write
from src.export.parity import ParityRows, compare, predict_all, read_rows
from src.export.probe_rows import load_probe_rows
from src.export.target import ExportTarget
from src.modelarts.job import open_job
from src.preprocessing.pipeline import make_records


def main(argv=None):
    config = load_config(argv, description="Write a checkpoint as MindIR, ONNX or AIR.")
    with open_job(config, ("file_name",), "ckpt_file", make_records, needs_data=False) as job:
        export(job.config)


def export(config):
    if config.ckpt_file is None:
        raise UserError(
            "--ckpt_file is missing: a .ckpt file, or a folder for its best checkpoint; of a job: --checkpoint_url"
        )
    with ExportTarget(config.file_name, config.file_format) as target:
        device, _ = set_up(config.device_target, config.device_id)
        check_wanted(config.file_format, config.batch_size, config.mindir_version, device)
        checkpoint = find_checkpoint(config.ckpt_file, "--ckpt_file")
        folder = checkpoint.folder
        work = Work("export", folder.network_config, prediction_bytes(folder.network_config, config.batch_size))
        check_fits(work, device, "use a smaller --batch_size or a machine with more memory")
        rows = choose_rows(config, checkpoint)
        network = checkpoint.load_network()
        expected = predict_all(runner(network), rows.inputs, config.batch_size)
        network.fold()
        write(
            config.file_format, DeepFMPredict(network), config.batch_size, target.partial, config.mindir_version,
            folder.data_identity.to_metadata(),
        )  # fmt: skip
        run = open_exported(config.file_format, target.partial)
        if run is None:
            print(f"not compared with the checkpoint: nothing here runs {config.file_format}; for ONNX: onnxruntime")
        else:
            print(compare(expected, run, rows, config.batch_size))
        target.commit()
    print(f"{target.path}: {target.path.stat().st_size / 1e6:,.1f} MB, of {checkpoint.path}")


def choose_rows(config, checkpoint):
    """Return the ParityRows: probe rows, and rows of the MindRecord folder if it can be used.

    The default folder may be missing or hold the data of another model, but a folder that the user named may not.
    """
    rows = ParityRows.of_probes(load_probe_rows(checkpoint.folder.path, checkpoint.folder.data_identity))
    default = load_config([]).dataset_path
    if config.dataset_path == default and not os.path.lexists(default):
        return rows
    try:
        data = DatasetMeta.load(config.dataset_path)
        checkpoint.check_data(data)
        return rows.add(*read_rows(data))
    except UserError as error:
        if config.dataset_path != default:
            raise
        print(f"note: validation rows are not compared: {error}")
    return rows


def runner(network):
    """Return a function from numpy inputs to the probabilities of a DeepFM, [B, 1]."""
    predictor = DeepFMPredict(network)
    return lambda *inputs: predictor(*map(Tensor, inputs)).asnumpy()


if __name__ == "__main__":
    run_main(main)
