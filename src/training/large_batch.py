# SPDX-License-Identifier: Apache-2.0
"""What keeps the AUC when batches are large: a limit for the gradient of each id, and a learning rate for the tables.

Source: Zheng et al., "CowClip: Reducing CTR Prediction Model Training Time from 12 hours to 10 minutes on 1 GPU",
AAAI 2023, and its authors' code.
"""

import dataclasses
import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

TINY = 1e-30


@dataclasses.dataclass(frozen=True)
class LargeBatch:
    """How the embedding tables are trained differently.

    table_factor: the learning rate of the tables as a multiple of that of the other weights.
    cowclip_ratio, cowclip_bound: see CowClip; a ratio of 0 for no limit.
    """

    table_factor: float = 1.0
    cowclip_ratio: float = 0.0
    cowclip_bound: float = 1e-5


class CowClip(nn.Cell):
    """Scales the gradient of each row of the embedding table down to

        count * ratio * max(|row|, bound * sqrt(D)),

    where `count` is how often the row's id is in the batch of all ranks, and 1 for the others, which only L2 moves.
    """

    def __init__(self, ratio: float, bound: float, shape: tuple[int, int], rank_count: int):
        """shape: [V, D] of the table, which is whole."""
        super().__init__()
        self.row_count, self.width = shape
        self.ratio, self.least_norm = ratio, bound * math.sqrt(self.width)
        self.count_ids = ops.UnsortedSegmentSum()
        self.sum = ops.ReduceSum(keep_dims=True)
        self.all_reduce = ops.AllReduce() if rank_count > 1 else None

    def construct(self, table: Parameter, gradient: Tensor, sparse_ids: Tensor) -> Tensor:
        """Return the gradient, float32 [V, D], scaled.  sparse_ids: int32 [B, I], of this rank's rows."""
        counts = self._counts(sparse_ids)
        limit = counts * self.ratio * ops.maximum(self._norms(table), self.least_norm)  # [V, 1]
        factors = limit / ops.maximum(ops.maximum(self._norms(gradient), limit), TINY)
        # To repeat the factors in the product itself takes a CPU longer, and one more array of that size.
        return gradient * ops.tile(factors, (1, self.width))

    def _counts(self, sparse_ids):
        ids = sparse_ids.reshape(-1)  # NO_VALUE, -1, is not counted
        counts = self.count_ids(ops.ones_like(ids).astype(ms.float32), ids, self.row_count)
        if self.all_reduce is not None:
            counts = self.all_reduce(counts)
        return ops.maximum(counts, 1.0).reshape(-1, 1)

    def _norms(self, rows):
        return ops.sqrt(self.sum(rows * rows, 1))
