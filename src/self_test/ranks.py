# SPDX-License-Identifier: Apache-2.0
"""The collective operations of a process group, with numbers whose results are exact."""

from collections.abc import Callable

import numpy as np
from mindspore import Tensor, nn, ops

from src.distributed.process_group import ProcessGroup
from src.network.tables import Exchange, Part
from src.self_test.arithmetic import first_elements
from src.self_test.check import Result, Status, verdict
from src.self_test.results import file_name

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


def how_to_test(target: str, device_count: int) -> str:
    """Return the reason why a single process has no collective operations, and the command that tests them."""
    count = 2 if target == "CPU" else device_count
    if count == 1:
        return "one device"
    workers = f"--worker_num={count} --local_worker_num={count} --join=True"
    return f"one process; to test them: msrun {workers} python -m src.self_test --device_target={target}"


def check_all_reduce(ranks: ProcessGroup, reduce: Callable[[np.ndarray], np.ndarray] = all_reduce) -> Result:
    """Compare sums over all ranks of float32 numbers; they stay below 2^24, so the order of the terms has no effect."""
    expected = np.sum([_numbers(rank) for rank in range(ranks.count)], axis=0)
    return _judge(ranks, reduce(_numbers(ranks.rank)), expected, "sums")


def check_gather(ranks: ProcessGroup, dtype: np.typing.DTypeLike) -> Result:
    """Compare arrays of all ranks, one after the other."""
    expected = np.concatenate([_numbers(rank).astype(dtype) for rank in range(ranks.count)])
    return _judge(ranks, ranks.gather(_numbers(ranks.rank).astype(dtype)), expected, f"{np.dtype(dtype)} numbers")


def check_exchange(ranks: ProcessGroup, target: str) -> Result:
    """Compare what the ranks send each other of the rows of tables in parts."""
    numbers = np.stack([_numbers(ranks.rank * ranks.count + receiver) for receiver in range(ranks.count)])
    expected = np.concatenate([_numbers(sender * ranks.count + ranks.rank) for sender in range(ranks.count)])
    exchange = Exchange(Part(ranks.rank, ranks.count), target)
    return _judge(ranks, exchange(Tensor(numbers)).asnumpy().ravel(), expected, "float32 numbers")


def check_failures(ranks: ProcessGroup, own_count: int) -> Result:
    """Tell how many checks have failed on each rank; it is the first rank that fails if another one has."""
    counts = ranks.gather(np.array([own_count], np.int32)).tolist()
    files = [file_name(rank, ranks.count) for rank, count in enumerate(counts) if count and rank != ranks.rank]
    text = f"failed checks of each rank: {', '.join(map(str, counts))}" + (f"; see {', '.join(files)}" if files else "")
    return verdict(not any(counts), text) if ranks.rank == 0 else Result(Status.INFO, text)


def _judge(ranks: ProcessGroup, actual: np.ndarray, expected: np.ndarray, unit: str) -> Result:
    if actual.shape != expected.shape:
        return verdict(False, f"{ranks.count} ranks: shape {actual.shape} instead of {expected.shape}")
    wrong = np.flatnonzero(actual != expected)
    text = f"{ranks.count} ranks: {len(wrong)} of {len(expected)} {unit} are wrong"
    return verdict(not wrong.size, text, wrong=first_elements(wrong, actual=actual, expected=expected))


def _numbers(rank: int) -> np.ndarray:
    return ((np.arange(LENGTH) * (rank + 3)) % 1009 - 500).astype(np.float32)
