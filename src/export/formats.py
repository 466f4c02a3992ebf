# SPDX-License-Identifier: Apache-2.0
"""Exported models: write them, and run the files that were written."""

import contextlib
import importlib.util
import os

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.common.errors import UserError
from src.export.mindir import OLD_VERSION, name_ends, to_old_version
from src.export.model_metadata import append_metadata

INPUTS, OUTPUT = ("sparse_ids", "dense_values"), "probabilities"


def check_wanted(file_format, batch_size, mindir_version, device):
    """Raise UserError for what cannot be written, or not here.  batch_size: 0 for one that is not fixed."""
    if file_format == "AIR" and device != "Ascend":
        raise UserError(
            "--file_format=AIR needs an Ascend machine; MINDIR can be written anywhere and runs on Ascend, too"
        )
    if file_format == "AIR" and batch_size == 0:
        raise UserError("--file_format=AIR needs a fixed --batch_size")
    if file_format == "MINDIR" and mindir_version == OLD_VERSION and batch_size == 0:
        raise UserError(
            f"--mindir_version={OLD_VERSION} needs a fixed --batch_size, as --batch_size=1000: the runtimes that it is "
            "for cannot do without"
        )


def write(file_format, predictor, batch_size, path, mindir_version, metadata=None):
    """Write a DeepFMPredict, folded, to `path`, whose suffix is that of the format and whose folder exists.

    Its inputs are sparse_ids int32 [B, S] and dense_values float32 [B, N], if it has such; its output is called
    probabilities, float32 [B, 1].  batch_size: B, 0 for one that is not fixed.  MindSpore restricts the characters in
    the file's own name; the folder may have any.  metadata: text by name for MindIR and ONNX; AIR cannot carry it.
    """
    config = predictor.network.config
    widths = {
        "sparse_ids": (config.sparse_field_count, ms.int32),
        "dense_values": (config.dense_field_count, ms.float32),
    }
    inputs = {name: width for name, width in widths.items() if width[0]}
    if file_format == "ONNX":
        _write_onnx(predictor, inputs, batch_size, path)
    else:
        _write_for_mindspore(predictor, inputs, batch_size, path, file_format)
    if file_format == "MINDIR":
        name_ends(path, inputs, OUTPUT)
        if mindir_version == OLD_VERSION:
            to_old_version(path)
    if file_format != "AIR":
        append_metadata(path, metadata or {})


def _write_for_mindspore(predictor, inputs, batch_size, path, file_format):
    any_number = [Tensor(shape=[None, width], dtype=kind) for width, kind in inputs.values()]
    examples = _zeros(inputs, batch_size) if batch_size else any_number
    with _working_in(path.parent):
        ms.export(predictor, *examples, file_name=path.stem, file_format=file_format)
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
def _working_in(folder):
    """Have `folder` as the working directory, so that a path in it is a plain name."""
    earlier = os.open(".", os.O_RDONLY)  # it may have no path any more
    os.chdir(folder)
    try:
        yield
    finally:
        os.fchdir(earlier)
        os.close(earlier)


def _zeros(inputs, rows):
    return [Tensor(np.zeros((rows, width)), kind) for width, kind in inputs.values()]


def open_exported(file_format, path):
    """Return a function from numpy inputs to probabilities [B, 1] that runs the file; None if nothing here can."""
    if file_format == "MINDIR":
        graph = nn.GraphCell(ms.load(str(path)))
        return lambda *inputs: graph(*map(Tensor, inputs)).asnumpy()
    if file_format == "ONNX" and importlib.util.find_spec("onnxruntime"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; that the exporter's note of the output's rows is not right is known
        session = onnxruntime.InferenceSession(str(path), options)
        return lambda *inputs: session.run([OUTPUT], dict(zip(INPUTS, inputs)))[0]
    return None
