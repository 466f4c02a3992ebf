# SPDX-License-Identifier: Apache-2.0
"""Write a checkpoint as a file for other runtimes: python export.py --ckpt_file=./checkpoint --file_name=deepfm"""

from src.entry_point import enter

if __name__ == "__main__":
    enter(joins_others=True)

import pathlib

from src.checkpoint import find_checkpoint
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.device import set_up
from src.errors import UserError, exit_on_user_error
from src.exported import SUFFIXES, check_wanted, open_exported, write
from src.memory_estimate import prediction_bytes
from src.memory_limits import Work, check_fits
from src.modelarts import open_job
from src.output_paths import Kind, Output, prepared
from src.parity import compare, predict_all, read_rows
from src.preprocess_data import make_records


def main(argv=None):
    config = load_config(argv, description="Write a checkpoint as MindIR, ONNX or AIR.")
    with open_job(config, ("file_name",), "ckpt_file", make_records) as job:
        export(job.config)


def export(config):
    if config.ckpt_file is None:
        raise UserError("--ckpt_file is missing: a .ckpt file, or a folder for its best checkpoint")
    device, _ = set_up(config.device_target, config.device_id)
    check_wanted(config.file_format, config.batch_size, config.mindir_version, device)
    folder, saved = find_checkpoint(config.ckpt_file, "--ckpt_file")
    meta = DatasetMeta.load(config.dataset_path)
    folder.check_data(meta, config.dataset_path)
    suffix = SUFFIXES[config.file_format]
    path = pathlib.Path(f"{config.file_name.removesuffix(suffix)}{suffix}")
    with prepared([Output("file_name", str(path), Kind.FILE)]):
        write_compared(config, meta, folder, saved, path, device)


def write_compared(config, meta, folder, saved, path, device):
    """Write a checkpoint to `path` and compare the file with it; a file that differs is not kept."""
    work = Work("export", folder.network, prediction_bytes(folder.network, config.batch_size))
    check_fits(work, device, "use a smaller --batch_size or a machine with more memory")
    network = folder.load_network(saved)
    inputs, labels = read_rows(config.dataset_path, meta)
    expected = predict_all(runner(network), inputs, config.batch_size)
    network.fold()
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    partial.unlink(missing_ok=True)
    try:
        write(config.file_format, DeepFMPredict(network), config.batch_size, partial, config.mindir_version)
        run = open_exported(config.file_format, partial)
        if run is None:
            print(f"not compared with the checkpoint: nothing here runs {config.file_format}; for ONNX: onnxruntime")
        else:
            print(compare(expected, run, inputs, labels, config.batch_size))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB, of {folder.path / saved.file}")


def runner(network):
    """Return a function from numpy inputs to the probabilities of a DeepFM, [B, 1]."""
    from mindspore import Tensor  # here, as importing it opens files, which fill_closed_streams() must precede

    predictor = DeepFMPredict(network)
    return lambda *inputs: predictor(*map(Tensor, inputs)).asnumpy()


if __name__ == "__main__":
    exit_on_user_error(main)
