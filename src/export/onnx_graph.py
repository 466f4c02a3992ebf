# SPDX-License-Identifier: Apache-2.0
"""Build an ONNX graph node by node."""

import collections
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

ML_DOMAIN = "ai.onnx.ml"


class GraphBuilder:
    """Collects the nodes and the constants of a graph; a tensor is named by the method that makes it.

    prefix: of the names of all tensors that it makes, so that they differ from those of another part of the graph.
    """

    def __init__(self, prefix: str):
        self._prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, values: npt.ArrayLike, dtype: type) -> str:
        """Return the name of a new constant."""
        name = f"{self._prefix}.constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output; return the name of the output."""
        number = len(self.nodes)
        output = f"{self._prefix}.{operator.lower()}{number}"
        node = helper.make_node(operator, inputs, [output], f"{self._prefix}.{operator}{number}", domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)
        return output

    def cast(self, tensor: str, dtype: type) -> str:
        """Add the conversion of a tensor to a numpy type."""
        return self.add("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def encode_texts(self, tensor: str, ids: dict[str, int], default: int) -> str:
        """Add the lookup of texts in a table, which may be empty; return the name of the ids, int64."""
        return self._encode_labels(tensor, "keys_strings", ids or {"": default}, default)

    def encode_integers(self, tensor: str, ids: dict[int, int], default: int) -> str:
        """Add the lookup of int64 in a table, which may be empty; return the name of the ids, int64."""
        return self._encode_labels(tensor, "keys_int64s", ids or {0: default}, default)

    def _encode_labels(self, tensor, kind, ids, default):
        """Add a LabelEncoder, which cannot have an empty table."""
        attributes = {kind: list(ids), "values_int64s": list(ids.values()), "default_int64": default}
        return self.add("LabelEncoder", tensor, domain=ML_DOMAIN, **attributes)


def fuse_sums(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes with one Gemm for each product and the sum that it is a term of.

    A host does that itself only where the other term is a constant.  The other term must not be larger than the
    product.
    """
    uses = collections.Counter(name for node in nodes for name in node.input)
    products: dict[str, onnx.NodeProto] = {}
    fused: list[onnx.NodeProto] = []
    for node in nodes:
        terms = [name for name in node.input if name in products] if node.op_type == "Add" else []
        if terms:
            product = products.pop(terms[-1])
            fused.remove(product)
            fused.append(_with_addend(product, node))
            continue
        if node.op_type == "Gemm" and len(node.input) == 2 and uses[node.output[0]] == 1:
            products[node.output[0]] = node
        fused.append(node)
    return fused


def _with_addend(product, addition):
    """Return a product that also adds the other term of a sum."""
    addends = [name for name in addition.input if name != product.output[0]]
    gemm = helper.make_node("Gemm", [*product.input, *addends], addition.output, addition.name)
    gemm.attribute.extend(product.attribute)
    return gemm


def tensor_input(name: str, dtype: int, rows: str, width: int) -> onnx.ValueInfoProto:
    """Return the declaration of an input or output [rows, width].  dtype: of TensorProto; rows: name of the size."""
    return helper.make_tensor_value_info(name, dtype, [rows, width])


STRING, INT64, INT32 = TensorProto.STRING, TensorProto.INT64, TensorProto.INT32
FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
