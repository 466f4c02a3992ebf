# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint for other runtimes: python export.py --ckpt_file=./checkpoint --file_name=deepfm"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Export a checkpoint as a model package, MindIR, ONNX or AIR.",
        needs=("ckpt_file",),
        may_read=("dataset_path",),
        distributed=True,
    )

import os
import pathlib
from collections.abc import Sequence

from src.checkpoint import Checkpoint
from src.checkpoint_average import find_model
from src.common.errors import UserError, run_main
from src.common.memory_estimate import prediction_bytes
from src.common.memory_limits import Work, check_fits
from src.config import Config, load_config, outputs_of
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMConfig, DeepFMPredict
from src.distributed.device import set_up
from src.evaluation.record import EvaluationRecord
from src.export.formats import ExportOptions, as_numpy_function, check_export_options, export_model
from src.export.package import compare_package, find_raw_encoding, write_package
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
        checkpoint = find_model(config.ckpt_file, "--ckpt_file")
        check_memory(checkpoint.folder.network_config, config.batch_size, device.target)
        data = find_data(config.dataset_path, checkpoint)
        if config.file_format == "PACKAGE":
            print(export_package(target.partial, checkpoint, data))
        else:
            print(export_file(target.partial, options, checkpoint, data))
        target.commit()
    print(f"{target.path}: {size_of_all(target.path) / 1e6:,.1f} MB, of {checkpoint.path}")


def export_file(path: pathlib.Path, options: ExportOptions, checkpoint: Checkpoint, data: DatasetMeta | None) -> str:
    """Write a checkpoint in one of the formats of MindSpore; return the result of the comparison with it."""
    rows = read_parity_rows(checkpoint, data)
    network = checkpoint.load_network()
    expected = predict_all(as_numpy_function(DeepFMPredict(network)), rows.inputs, options.batch_size)
    network.fold()
    export_model(DeepFMPredict(network), path, options, checkpoint.folder.data_identity.to_metadata())
    return compare_exported(path, options, rows, expected)


def export_package(folder: pathlib.Path, checkpoint: Checkpoint, data: DatasetMeta | None) -> str:
    """Write a checkpoint as a model package; return the result of the comparison with it."""
    rows, encoding = read_parity_rows(checkpoint, data), find_raw_encoding(checkpoint, data)
    record = EvaluationRecord.load(checkpoint.path, checkpoint.identity)
    network = checkpoint.load_network()
    expected = predict_all(as_numpy_function(DeepFMPredict(network)), rows.inputs, 0)
    if record.recalibration is None:
        print("note: no recalibration; eval.py --fit_calibration=True fits one, which the package then has")
    else:
        expected = record.recalibration.apply(expected)
    folder.mkdir()
    metrics = {"valid": checkpoint.metrics or None, "test": record.test}
    return compare_package(write_package(folder, network, encoding, record.recalibration, metrics), rows, expected)


def check_memory(network_config: DeepFMConfig, batch_size: int, device: str) -> None:
    """Print the estimated memory of an export; UserError if the device has less."""
    work = Work("export", network_config, prediction_bytes(network_config, batch_size))
    check_fits(work, device, "use a smaller --batch_size or a machine with more memory")


def find_data(dataset_path: str, checkpoint: Checkpoint) -> DatasetMeta | None:
    """Return the MindRecord folder if it holds the data of the checkpoint.

    The default folder may be missing or hold other data; a folder that the user has named may not.
    """
    default = load_config([]).dataset_path
    if dataset_path == default and not os.path.lexists(default):
        return None
    try:
        data = DatasetMeta.load(dataset_path)
        checkpoint.check_data(data)
        return data
    except UserError as error:
        if dataset_path != default:
            raise
        print(f"note: validation rows are not compared: {error}")
        return None


def read_parity_rows(checkpoint: Checkpoint, data: DatasetMeta | None) -> ParityRows:
    """Return probe rows, followed by validation rows if there are data."""
    rows = ParityRows.of_probes(load_probe_rows(checkpoint.folder.path, checkpoint.folder.data_identity))
    return rows if data is None else rows.with_validation_rows(data)


def size_of_all(path: pathlib.Path) -> int:
    """Return the size of a file, or of all files of a folder, in bytes."""
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    run_main(main)
