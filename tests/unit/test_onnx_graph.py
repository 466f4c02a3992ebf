# SPDX-License-Identifier: Apache-2.0
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from src.export.onnx_graph import fuse_sums, tensor_input


def product(*inputs, output, **attributes):
    return helper.make_node("Gemm", inputs, [output], **attributes)


def addition(*inputs, output):
    return helper.make_node("Add", inputs, [output])


FIRST, SECOND = product("x", "weight", output="first"), product("x", "other", output="second", transB=1)


@pytest.mark.parametrize(
    ("nodes", "fused"),
    [
        pytest.param([FIRST, addition("first", "bias", output="y")], ["Gemm"], id="first term"),
        pytest.param([SECOND, addition("bias", "second", output="y")], ["Gemm"], id="second term"),
        pytest.param([FIRST, SECOND, addition("first", "second", output="y")], ["Gemm", "Gemm"], id="two products"),
        pytest.param(
            [FIRST, SECOND, addition("second", "bias", output="sum"), addition("sum", "first", output="y")],
            ["Gemm", "Gemm"],
            id="one behind the other",
        ),
        pytest.param([FIRST, addition("first", "first", output="y")], ["Gemm", "Add"], id="twice in the sum"),
        pytest.param(
            [FIRST, addition("first", "bias", output="sum"), addition("sum", "first", output="y")],
            ["Gemm", "Add", "Add"],
            id="used elsewhere",
        ),
        pytest.param(
            [product("x", "weight", "bias", output="sum"), addition("sum", "bias", output="y")],
            ["Gemm", "Add"],
            id="has a term",
        ),
        pytest.param([addition("x", "x", output="y")], ["Add"], id="no product"),
    ],
)
def test_a_product_and_its_sum_become_one_node_with_the_same_result(nodes, fused):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = fuse_sums(nodes)
    assert [node.op_type for node in found] == fused
    assert np.array_equal(run_nodes(found, x), run_nodes(nodes, x))


def run_nodes(nodes, x):
    """Return y, computed from x and constants of small integers, which float32 has exactly."""
    values = {"weight": np.arange(9).reshape(3, 3), "other": np.arange(9, 18).reshape(3, 3), "bias": [5, 7, 1]}
    constants = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()]
    tensors = [tensor_input(name, TensorProto.FLOAT, "rows", 3) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "test", tensors[:1], tensors[1:], constants),
        opset_imports=[helper.make_opsetid("", 12)],
        ir_version=7,
    )
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
