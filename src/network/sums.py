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


class FieldSums(nn.Cell):
    """Maps the vectors of a batch, float32 [B, F, D], to their sum and that of their squares, and to the MLP's inputs.

    The results are float32 [B, D], [B, D] and [B, F * D].  The gradients of all three meet here, so that of the sums
    takes two passes over [B, F, D], and no memory while those of the MLP are computed.
    """

    def __init__(self, target: str):
        super().__init__()
        self.sum_fields = create_field_sum(target)
        self.mul, self.add, self.tile = ops.Mul(), ops.AddN(), ops.Tile()
        self.reshape, self.expand_dims = ops.Reshape(), ops.ExpandDims()

    def construct(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, fields, width = vectors.shape
        sum_of_squares = self.sum_fields(self.mul(vectors, vectors))
        return self.sum_fields(vectors), sum_of_squares, self.reshape(vectors, (-1, fields * width))

    def bprop(self, vectors: Tensor, results: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the gradient of the vectors; MindSpore calls this."""
        of_sum, of_squares, of_inputs = gradients
        of_inputs = self.reshape(of_inputs, vectors.shape)
        of_squares = self.mul(vectors, self._for_each_field(2 * of_squares, vectors, of_inputs))
        return (self.add((of_inputs, of_squares, self._for_each_field(of_sum, vectors, of_squares))),)

    def _for_each_field(self, values, vectors, earlier):
        """Return [B, D] repeated as [B, F, D], but not before `earlier` is computed.

        To let an operator repeat them takes a CPU three times as long, and two arrays of that size.
        """
        values = ops.depend(values, earlier)
        return self.tile(self.expand_dims(values, 1), (1, vectors.shape[1], 1))


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
