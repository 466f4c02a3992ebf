# SPDX-License-Identifier: Apache-2.0
"""Exported MindIR files: give the inputs and the output their names, and write them for older runtimes."""

import copy
import pathlib

from mindspore.train import mind_ir_pb2

REFERENCE = "REF::"  # how a node names a primitive of the model
# MindSpore 2.3 and later pass these to an operator as inputs, the last ones; older runtimes want attributes.
ATTRIBUTES = {
    "Gather": ("batch_dims",),
    "ReduceSum": ("keep_dims", "skip_mode"),
    "MatMul": ("transpose_a", "transpose_b"),
    "BiasAdd": ("format",),
}
INPUT_COUNTS = {"Gather": 3, "ReduceSum": 2, "MatMul": 2, "BiasAdd": 2}
BIAS_FORMAT = "NCHW"
OLD_VERSION = 1
KNOWN_TO_OLD = {
    "Add", "BiasAdd", "Depend", "Gather", "Load", "MakeTuple", "MatMul", "Mul", "ReLU", "ReduceSum", "Reshape",
    "Sigmoid", "Square", "Sub", "UpdateState",
}  # fmt: skip


def name_ends(path, inputs, output):
    """Name the inputs of a MindIR file, in their order, and its one output."""
    model = _read(path)
    names = dict(zip((node.name for node in model.graph.input), inputs))
    names[model.graph.output[0].name] = output
    for node in (*model.graph.input, *model.graph.output):
        node.name = names[node.name]
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(value, value) for value in values]
    _write(path, model)


def to_old_version(path):
    """Rewrite a MindIR file of MindSpore 2.10 for runtimes that read version 1 at most, as those of Ascend 310 boards.

    Raises ValueError for operators of which it is not known how they stand in that version.
    """
    model = _read(path)
    constants = {node.output[0]: node.attribute[0] for node in model.graph.node if node.op_type == "Constant"}
    primitives = {primitive.name: primitive for primitive in model.primitives}
    own = []
    for node in model.graph.node:
        if not node.op_type.startswith(REFERENCE):
            continue
        primitive = copy.deepcopy(primitives[node.op_type.removeprefix(REFERENCE)])
        if primitive.op_type not in KNOWN_TO_OLD:
            raise ValueError(
                f"{path}: the operator {primitive.op_type} is not known in version {OLD_VERSION} of MindIR"
            )
        primitive.name = f"{primitive.op_type}:{len(own)}"
        node.op_type = REFERENCE + primitive.name
        _inputs_to_attributes(node, primitive, constants)
        own.append(primitive)
    del model.primitives[:]
    model.primitives.extend(own)
    model.mind_ir_version = OLD_VERSION
    _write(path, model)


def _inputs_to_attributes(node, primitive, constants):
    names = ATTRIBUTES.get(primitive.op_type, ())
    count = INPUT_COUNTS.get(primitive.op_type, len(node.input))
    for name, value in zip(names, node.input[count:]):
        attribute = primitive.attribute.add()
        if name == "format":  # a number as an input, a text as an attribute
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
    path.chmod(0o600)  # MindSpore makes it read-only
    path.write_bytes(model.SerializeToString())
