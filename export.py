# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint for other runtimes: python export.py --ckpt_file=./checkpoint --file_name=deepfm"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Export a checkpoint as MindIR, ONNX or AIR.",
        needs=("ckpt_file",),
        may_read=("dataset_path",),
        distributed=True,
    )

import os
from collections.abc import Sequence

from src.checkpoint import Checkpoint, find_checkpoint
from src.common.errors import UserError, run_main
from src.common.memory_estimate import prediction_bytes
from src.common.memory_limits import Work, check_fits
from src.config import Config, load_config, outputs_of
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMConfig, DeepFMPredict
from src.distributed.device import set_up
from src.export.formats import ExportOptions, as_numpy_function, check_export_options, export_model
from src.export.parity import ParityRows, compare_exported, predict_all
from src.export.probe_rows import load_probe_rows
from src.export.target import export_target
from src.modelarts.job import open_job


def main(argv: Sequence[str] | None = None) -> None:
    """Export a checkpoint; argv: flags, those of the command line if None."""
    config = load_config(argv)
    with open_job(config, outputs_of("export"), "ckpt_file", needs_data=False) as job:
        export(job.config)


def export(config: Config) -> None:
    """Export the checkpoint of the configuration, compare the exported file with it, and keep it if both agree."""
    if config.ckpt_file is None:
        raise UserError(
            "--ckpt_file is missing: a .ckpt file, or a folder for its best checkpoint; of a job: --checkpoint_url"
        )
    options = ExportOptions(config.file_format, config.batch_size, config.mindir_version)
    with export_target(config.file_name, config.file_format) as target:
        device, _ = set_up(config.device_target, config.device_id)
        check_export_options(options, device.target)
        checkpoint = find_checkpoint(config.ckpt_file, "--ckpt_file")
        check_memory(checkpoint.folder.network_config, config.batch_size, device.target)
        rows = read_parity_rows(config.dataset_path, checkpoint)
        network = checkpoint.load_network()
        expected = predict_all(as_numpy_function(DeepFMPredict(network)), rows.inputs, config.batch_size)
        network.fold()
        export_model(DeepFMPredict(network), target.partial, options, checkpoint.folder.data_identity.to_metadata())
        print(compare_exported(target.partial, options, rows, expected))
        target.commit()
    print(f"{target.path}: {target.path.stat().st_size / 1e6:,.1f} MB, of {checkpoint.path}")


def check_memory(network_config: DeepFMConfig, batch_size: int, device: str) -> None:
    """Print the estimated memory of an export; UserError if the device has less."""
    work = Work("export", network_config, prediction_bytes(network_config, batch_size))
    check_fits(work, device, "use a smaller --batch_size or a machine with more memory")


def read_parity_rows(dataset_path: str, checkpoint: Checkpoint) -> ParityRows:
    """Return probe rows, followed by rows of the MindRecord folder if it holds the data of the checkpoint.

    The default folder may be missing or hold other data; a folder that the user has named may not.
    """
    rows = ParityRows.of_probes(load_probe_rows(checkpoint.folder.path, checkpoint.folder.data_identity))
    default = load_config([]).dataset_path
    if dataset_path == default and not os.path.lexists(default):
        return rows
    try:
        data = DatasetMeta.load(dataset_path)
        checkpoint.check_data(data)
        return rows.with_validation_rows(data)
    except UserError as error:
        if dataset_path != default:
            raise
        print(f"note: validation rows are not compared: {error}")
        return rows


if __name__ == "__main__":
    run_main(main)
