# SPDX-License-Identifier: Apache-2.0
"""The collective operations of a process group, with numbers whose results are exact."""

from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops

from src.distributed.process_group import ProcessGroup
from src.self_test.check import Result, Status, verdict

HOW = "msrun --worker_num=N --local_worker_num=N --join=True python -m src.self_test --device_target=..."
ALONE = Result(Status.NOT_TESTED, f"one process; with N devices: {HOW}")
LENGTH = 4099  # a prime, so no block of a device divides it


class _AllReduce(nn.Cell):
    def __init__(self):
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, numbers: Tensor) -> Tensor:
        return self.all_reduce(numbers)


def all_reduce(numbers: np.ndarray) -> np.ndarray:
    """Return the sum of the float32 arrays of all ranks, computed in a graph, as that of the gradients is."""
    return _AllReduce()(Tensor(numbers)).asnumpy()


def check_all_reduce(ranks: ProcessGroup, reduce: Callable[[np.ndarray], np.ndarray] = all_reduce) -> Result:
    """Compare sums over all ranks of float32 numbers; they stay below 2^24, so the order of the terms has no effect."""
    if ranks.count == 1:
        return ALONE
    actual = reduce(_numbers(ranks.rank))
    expected = np.sum([_numbers(rank) for rank in range(ranks.count)], axis=0)
    wrong = int((actual != expected).sum()) if actual.shape == expected.shape else LENGTH
    return verdict(wrong == 0, f"{ranks.count} ranks: {wrong} of {LENGTH} sums are wrong")


def check_gather(ranks: ProcessGroup) -> Result:
    """Compare arrays of all ranks, one after the other."""
    if ranks.count == 1:
        return ALONE
    wrong = 0
    for dtype in (np.float32, np.int32):
        expected = np.concatenate([_numbers(rank).astype(dtype) for rank in range(ranks.count)])
        wrong += not np.array_equal(ranks.gather(_numbers(ranks.rank).astype(dtype)), expected)
    return verdict(wrong == 0, f"{ranks.count} ranks: {wrong} of 2 arrays, float32 and int32, are wrong")


def check_failures(ranks: ProcessGroup, own_count: int) -> Result:
    """Tell how many checks have failed on each rank; only the first one prints its own."""
    counts = ranks.gather(np.array([own_count], np.int32)).tolist()
    return verdict(not any(counts), f"failed checks of each rank: {', '.join(map(str, counts))}")


def _numbers(rank: int) -> np.ndarray:
    return ((np.arange(LENGTH) * (rank + 3)) % 1009 - 500).astype(np.float32)
