# SPDX-License-Identifier: Apache-2.0
"""Exported MindIR files: rename the inputs and the output, and convert a file for older runtimes."""

import copy
import os
import pathlib
from collections.abc import Sequence

from mindspore.train import mind_ir_pb2

REFERENCE = "REF::"  # prefix of the name of a primitive in a node
# MindSpore 2.3 and later pass these to an operator as its last inputs; older runtimes expect attributes.
ATTRIBUTES = {
    "Gather": ("batch_dims",),
    "ReduceSum": ("keep_dims", "skip_mode"),
    "MatMul": ("transpose_a", "transpose_b"),
    "BiasAdd": ("format",),
    "Concat": ("axis",),
    "StridedSlice": ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"),
}
INPUT_COUNTS = {"Gather": 3, "ReduceSum": 2, "MatMul": 2, "BiasAdd": 2, "Concat": 1, "StridedSlice": 4}
BIAS_FORMAT = "NCHW"
OLD_VERSION = 1
OLD_OPERATORS = {
    "Add", "BiasAdd", "Concat", "Depend", "Gather", "Load", "MakeTuple", "MatMul", "Maximum", "Minimum", "Mul", "ReLU",
    "ReduceSum", "Reshape", "Sigmoid", "StridedSlice", "Sub", "UpdateState",
}  # fmt: skip


def rename_inputs_and_outputs(path: str | os.PathLike, inputs: Sequence[str], output: str) -> None:
    """Give the inputs of a MindIR file, in their order, and its only output these names."""
    model = _read(path)
    names = dict(zip((node.name for node in model.graph.input), inputs))
    names[model.graph.output[0].name] = output
    for node in (*model.graph.input, *model.graph.output):
        node.name = names[node.name]
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    _write(path, model)


def convert_to_old_version(path: str | os.PathLike) -> None:
    """Convert a MindIR file of MindSpore 2.10 for runtimes that read version 1 only, as on Ascend 310 boards.

    Raises ValueError for an operator whose form in that version is not known.
    """
    model = _read(path)
    constants = {node.output[0]: node.attribute[0] for node in model.graph.node if node.op_type == "Constant"}
    primitives = {primitive.name: primitive for primitive in model.primitives}
    converted: list[mind_ir_pb2.PrimitiveProto] = []
    for node in model.graph.node:
        if not node.op_type.startswith(REFERENCE):
            continue
        primitive = copy.deepcopy(primitives[node.op_type.removeprefix(REFERENCE)])
        if primitive.op_type not in OLD_OPERATORS:
            raise ValueError(
                f"{path}: the operator {primitive.op_type} is not known in version {OLD_VERSION} of MindIR"
            )
        primitive.name = f"{primitive.op_type}:{len(converted)}"
        node.op_type = REFERENCE + primitive.name
        _inputs_to_attributes(node, primitive, constants)
        converted.append(primitive)
    del model.primitives[:]
    model.primitives.extend(converted)
    model.mind_ir_version = OLD_VERSION
    _write(path, model)


def _inputs_to_attributes(node, primitive, constants):
    names = ATTRIBUTES.get(primitive.op_type, ())
    count = INPUT_COUNTS.get(primitive.op_type, len(node.input))
    for name, value in zip(names, node.input[count:]):
        attribute = primitive.attribute.add()
        if name == "format":  # the input is a number, the attribute a text
            attribute.type, attribute.s = mind_ir_pb2.AttributeProto.STRING, BIAS_FORMAT.encode()
        else:
            attribute.CopyFrom(constants[value])
        attribute.name = name
    del node.input[count:]


def _read(path):
    model = mind_ir_pb2.ModelProto()
    model.ParseFromString(pathlib.Path(path).read_bytes())
    return model


def _write(path, model):
    path = pathlib.Path(path)
    path.chmod(0o600)  # MindSpore has made it read-only
    path.write_bytes(model.SerializeToString())
