# SPDX-License-Identifier: Apache-2.0
"""Exported models in three formats: write them, and run the written files."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Callable, Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.common.errors import UserError
from src.deepfm import DeepFMPredict
from src.export.mindir import OLD_VERSION, convert_to_old_version, rename_inputs_and_outputs
from src.export.model_metadata import append_metadata

INPUTS, OUTPUT = ("sparse_ids", "dense_values"), "probabilities"
NumpyFunction = Callable[..., np.ndarray]  # from sparse_ids [B, S] and dense_values [B, N] to probabilities [B, 1]


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The form of an exported file.

    file_format: MINDIR, ONNX or AIR.  batch_size: B, or 0 for a dynamic batch size.  mindir_version: of MINDIR.
    """

    file_format: str
    batch_size: int
    mindir_version: int = 3


def check_export_options(options: ExportOptions, device: str) -> None:
    """Raise UserError if such a file cannot be written, or not on this device."""
    is_dynamic = options.batch_size == 0
    if options.file_format == "AIR" and device != "Ascend":
        raise UserError(
            "--file_format=AIR needs an Ascend machine; MINDIR can be written anywhere and runs on Ascend, too"
        )
    if options.file_format == "AIR" and is_dynamic:
        raise UserError("--file_format=AIR needs a fixed --batch_size")
    if options.file_format == "MINDIR" and options.mindir_version == OLD_VERSION and is_dynamic:
        raise UserError(
            f"--mindir_version={OLD_VERSION} needs a fixed --batch_size, as in --batch_size=1000: the runtimes that "
            "read it have no dynamic batch size"
        )


def export_model(
    predictor: DeepFMPredict, path: pathlib.Path, options: ExportOptions, metadata: dict[str, str] | None = None
) -> None:
    """Write a folded DeepFMPredict to `path`, whose suffix is that of the format and whose folder exists.

    The inputs are sparse_ids int32 [B, I] and, if N > 0, dense_values float32 [B, N]; the output is probabilities
    float32 [B, 1].  metadata: for MindIR and ONNX; AIR cannot carry any.  MindSpore restricts the characters in the
    name of the file, but its folder may have any.
    """
    config = predictor.network.config
    widths = {
        "sparse_ids": (config.id_count, ms.int32),
        "dense_values": (config.dense_field_count, ms.float32),
    }
    inputs = {name: width for name, width in widths.items() if width[0]}
    if options.file_format == "ONNX":
        _write_onnx(predictor, inputs, options.batch_size, path)
    else:
        _write_for_mindspore(predictor, inputs, options, path)
    if options.file_format == "MINDIR":
        rename_inputs_and_outputs(path, list(inputs), OUTPUT)
        if options.mindir_version == OLD_VERSION:
            convert_to_old_version(path)
    if options.file_format != "AIR":
        append_metadata(path, metadata or {})


def _write_for_mindspore(predictor, inputs, options, path):
    dynamic = [Tensor(shape=[None, width], dtype=dtype) for width, dtype in inputs.values()]
    examples = _zeros(inputs, options.batch_size) if options.batch_size else dynamic
    with _working_in(path.parent):
        ms.export(predictor, *examples, file_name=path.stem, file_format=options.file_format)
    if not path.exists():
        raise UserError(
            "the network has more than 1 GB of parameters, which MindSpore writes as several files; a smaller "
            "--embedding_size or a larger --threshold makes it fit into one"
        )


def _write_onnx(predictor, inputs, batch_size, path):
    dynamic = {} if batch_size else {"dynamic_axes": {name: {0: "batch"} for name in (*inputs, OUTPUT)}}
    with _working_in(path.parent):
        ms.onnx.export(
            predictor, *_zeros(inputs, batch_size or 1), file_name=path.name, input_names=list(inputs),
            output_names=[OUTPUT], **dynamic,
        )  # fmt: skip


@contextlib.contextmanager
def _working_in(folder: pathlib.Path) -> Iterator[None]:
    """Make `folder` the working directory, so that the path of a file in it is a plain name."""
    earlier = os.open(".", os.O_RDONLY)  # a descriptor, as the earlier directory may have been removed
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(earlier)
        os.close(earlier)


def _zeros(inputs, row_count):
    return [Tensor(np.zeros((row_count, width)), dtype) for width, dtype in inputs.values()]


def load_exported(path: pathlib.Path, file_format: str) -> NumpyFunction | None:
    """Return an exported model as a function; None if no runtime for its format is installed here."""
    if file_format == "MINDIR":
        return as_numpy_function(nn.GraphCell(ms.load(str(path))))
    if file_format == "ONNX" and importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: the exporter states a wrong shape of the output, as is known
        session = onnxruntime.InferenceSession(str(path), options)
        return lambda *inputs: session.run([OUTPUT], dict(zip(INPUTS, inputs)))[0]
    return None


def as_numpy_function(cell: nn.Cell) -> NumpyFunction:
    """Return a cell as a function from numpy arrays to a numpy array."""
    return lambda *inputs: cell(*map(Tensor, inputs)).asnumpy()
