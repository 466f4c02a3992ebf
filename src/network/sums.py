# SPDX-License-Identifier: Apache-2.0
"""Sums as a CPU computes them fast: as products with ones, where MindSpore's sum over another axis than the last is
some ten times slower.  On other devices, and in exported models, they are sums.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops

PORTABLE = "portable"  # the target of networks for other runtimes, which may lack operators and batch sizes


def create_row_sum(target: str) -> nn.Cell:
    """Return the cell that maps float32 [B, H] to its sum over the rows, [H].  target: the device."""
    return RowSumByProduct() if target == "CPU" else Sum(0)


def create_field_sum(target: str) -> nn.Cell:
    """Return the cell that maps float32 [B, F, D] to its sum over the fields, [B, D].  target: the device."""
    return FieldSumByProduct() if target == "CPU" else Sum(1)


class Sum(nn.Cell):
    """The sum over an axis."""

    def __init__(self, axis: int):
        super().__init__()
        self.axis = axis
        self.sum = ops.ReduceSum()

    def construct(self, values: Tensor) -> Tensor:
        return self.sum(values, self.axis)


class RowSumByProduct(nn.Cell):
    def __init__(self):
        super().__init__()
        self.matmul = ops.MatMul()
        self.reshape = ops.Reshape()

    def construct(self, values: Tensor) -> Tensor:
        return self.reshape(self.matmul(ops.ones((1, values.shape[0]), ms.float32), values), (-1,))


class FieldSumByProduct(nn.Cell):
    def __init__(self):
        super().__init__()
        self.matmul = ops.BatchMatMul()
        self.reshape = ops.Reshape()

    def construct(self, values: Tensor) -> Tensor:
        rows, fields, width = values.shape
        return self.reshape(self.matmul(ops.ones((rows, 1, fields), ms.float32), values), (rows, width))
