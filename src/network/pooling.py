# SPDX-License-Identifier: Apache-2.0
"""The mean of the values of a multi-valued field.  Letters as in src.deepfm."""

import itertools

import mindspore as ms
from mindspore import Tensor, nn, ops


class Pooling(nn.Cell):
    """Gives each multi-valued field the mean of what its ids have; the other fields come first, with one id each.

    Its operators are ones that runtimes of version 1 of MindIR know.
    """

    def __init__(self, single_count: int, list_lengths: tuple[int, ...]):
        super().__init__()
        self.single_count = single_count
        starts = itertools.accumulate(list_lengths, initial=single_count)
        self.blocks = tuple(zip(starts, list_lengths))  # of columns
        self.presence = Tensor([0, 1], ms.float32)
        self.reciprocals = Tensor([0, *(1 / count for count in range(1, max(list_lengths) + 1))], ms.float32)
        self.minimum = ops.Minimum()
        self.maximum = ops.Maximum()
        self.gather = ops.Gather()
        self.mul = ops.Mul()
        self.reshape = ops.Reshape()
        self.concat = ops.Concat(1)
        self.sum = ops.ReduceSum(keep_dims=True)

    def fractions(self, sparse_ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return ids that are all rows of a table, int32 [B, I], and the fraction of a field's mean that each id is.

        The fractions are [B, L, 1] for each block of columns, 0 for NO_VALUE.
        """
        is_value = self.minimum(sparse_ids + 1, 1)  # 0 or 1, as NO_VALUE is -1
        fractions = []
        for start, length in self.blocks:
            block = is_value[:, start : start + length]
            mean = self.gather(self.reciprocals, self.sum(block, 1), 0)  # [B, 1]
            fractions.append(self.reshape(self.mul(self.gather(self.presence, block, 0), mean), (-1, length, 1)))
        return self.maximum(sparse_ids, 0), fractions

    def construct(self, rows: Tensor, fractions: list[Tensor]) -> Tensor:
        """Return the rows of tables for ids, [B, I, X], as those of fields, [B, S, X]."""
        fields = []
        if self.single_count:
            fields.append(rows[:, : self.single_count])
        for (start, length), fraction in zip(self.blocks, fractions):
            fields.append(self.sum(self.mul(rows[:, start : start + length], fraction), 1))
        return self.concat(fields) if len(fields) > 1 else fields[0]
