# SPDX-License-Identifier: Apache-2.0
"""ONNX files of networks whose tables may be larger than a protobuf message, 2 GB."""

import dataclasses
import mmap
import pathlib
import tempfile

import numpy as np
import onnx
from mindspore import nn
from onnx import TensorProto

from src.deepfm import DeepFM, DeepFMPredict, fold_linear
from src.export.formats import ExportOptions, export_model
from src.package.parameters import StoredParameter

TABLES = ("linear", "embedding", "statistics")  # the parameters with a row for each id, before folding
ALIGNMENT = 4096  # of an external parameter, so that it can be mapped into memory


def network_graph(network: DeepFM) -> onnx.ModelProto:
    """Return the ONNX graph of a network, folded, but with tables of one row, which save_onnx replaces.

    MindSpore would write the tables into one message, and hold them in memory several times.
    """
    small = DeepFM(dataclasses.replace(network.config, vocabulary_size=1))
    copy_parameters(network, small)
    small.fold()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.onnx")
        export_model(DeepFMPredict(small), path, ExportOptions("ONNX", batch_size=0))
        return onnx.load(path)


def copy_parameters(source: nn.Cell, target: nn.Cell) -> None:
    """Copy all parameters but the tables."""
    parameters = source.parameters_dict()
    for name, parameter in target.parameters_dict().items():
        if name not in TABLES:
            parameter.set_data(parameters[name])


def tables_of(network: DeepFM) -> dict[str, np.ndarray]:
    """Return the tables of a network, folded, by name, float32 [V, ..].  network: not folded."""
    embedding = network.embedding.asnumpy()
    tables = {"folded_linear": fold_linear(network.linear.asnumpy(), embedding), "embedding": embedding}
    return {**tables, "statistics": network.statistics.asnumpy()} if network.config.has_statistics else tables


def save_onnx(
    model: onnx.ModelProto, tables: dict[str, np.ndarray], path: pathlib.Path, external: pathlib.Path | None = None
) -> dict[str, StoredParameter]:
    """Write a graph with these tables; return the positions of all parameters.

    external: a file in the same folder that the tables are written to; None to write them into the graph.
    """
    offsets = _write_external(tables, external) if external else {}
    for tensor in model.graph.initializer:
        if tensor.name not in tables:
            continue
        table = tables[tensor.name]
        tensor.dims[:] = table.shape
        tensor.ClearField("raw_data")
        if external:
            _refer_to(tensor, external.name, offsets[tensor.name], table.nbytes)
        else:
            tensor.raw_data = table.tobytes()
    path.write_bytes(model.SerializeToString())
    positions = _find_parameters(model, path)
    if external:
        positions |= {name: StoredParameter(external.name, at, tables[name].shape) for name, at in offsets.items()}
    return positions


def _write_external(tables, path):
    """Write tables to a file, one behind the other; return their offsets."""
    offsets = {}
    with open(path, "wb") as file:
        for name, table in tables.items():
            file.seek(-file.tell() % ALIGNMENT, 1)
            offsets[name] = file.tell()
            file.write(memoryview(np.ascontiguousarray(table)).cast("B"))
    return offsets


def _refer_to(tensor, file_name, offset, byte_count):
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file_name), ("offset", offset), ("length", byte_count)):
        tensor.external_data.add(key=key, value=str(value))


def _find_parameters(model, path):
    """Return the positions of the float32 parameters in the file; any place with the same bytes is as good."""
    floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and t.raw_data]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {t.name: StoredParameter(path.name, content.find(t.raw_data), tuple(t.dims)) for t in floats}
