# SPDX-License-Identifier: Apache-2.0
"""The processes that train together, each on a part of the rows of every step, and their collective operations."""

import platform
import zlib
from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.common.errors import UserError
from src.common.signals import SIGNALS, Stopped, StopSignals

MESSAGE_LENGTH = 1000


class ProcessGroup:
    """The processes that train together; this one is number `rank` of `count`.

    Every rank must call a collective operation, in the same order.  A group of one needs no communication, a larger one
    needs mindspore.communication.init().
    """

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count
        if count > 1:
            self._all_reduce = ops.AllReduce(ops.ReduceOp.SUM)  # the only reduction that CPUs have
            self._all_gather = ops.AllGather()

    @property
    def is_first(self) -> bool:
        """Whether this rank is the one that writes files."""
        return self.rank == 0

    def mean(self, scalar: Tensor) -> float:
        """Return the mean of a scalar Tensor over all ranks.  Collective."""
        if self.count == 1:
            return scalar.asnumpy().item()
        return self._all_reduce(ops.reshape(scalar, (1,))).asnumpy().item() / self.count

    def gather(self, column: np.ndarray) -> np.ndarray:
        """Return the arrays [n] of all ranks, float32 or int32, concatenated: [count * n].  Collective."""
        return column if self.count == 1 else self._all_gather(Tensor(column)).asnumpy()

    def start_sum(self, numbers: Sequence[float]) -> Tensor:
        """Start to add lists of numbers over all ranks; return a float32 Tensor.  Collective.

        It does not wait for the other ranks; asnumpy() of the Tensor does.
        """
        numbers = Tensor(numbers, ms.float32)
        return numbers if self.count == 1 else self._all_reduce(numbers)

    def local_count(self) -> int:
        """Return how many of the ranks run on this host.  Collective."""
        if self.count == 1:
            return 1
        host = zlib.crc32(platform.node().encode()) % 2**24  # float32 holds these numbers exactly
        hosts = self.start_sum([host * (rank == self.rank) for rank in range(self.count)]).asnumpy()
        return int((hosts == host).sum())

    def first_does(self, action: Callable[[], object]) -> None:
        """Let the first rank call `action` while the others wait; if it fails, all ranks raise the error.  Collective.

        The failures of `action` are UserError and OSError; the other ranks get a UserError with the same message.
        """
        error = None
        if self.is_first:
            try:
                action()
            except (UserError, OSError) as caught:
                error = caught
        if self.count > 1:
            codes = [ord(character) for character in str(error or "")[:MESSAGE_LENGTH]]  # float32 holds them exactly
            codes += [0] * (MESSAGE_LENGTH - len(codes))
            message = "".join(chr(int(code)) for code in self.start_sum(codes).asnumpy() if code)
            error = error or (UserError(message) if message else None)
        if error is not None:
            raise error

    def barrier(self) -> None:
        """Wait until all ranks have called this.  Collective."""
        if self.count > 1:
            self.start_sum([0]).asnumpy()


class AgreedStop:
    """Lets all ranks stop after the same step when one of them has received a signal.

    With several ranks, a check sees the signals that had arrived before the previous check: so it waits only for a step
    that has ended, not for the one that a device is executing.
    """

    def __init__(self, signals: StopSignals, ranks: ProcessGroup):
        self._signals, self._ranks = signals, ranks
        self._answer = None

    def begin(self) -> None:
        """From now on a signal stops all ranks together, not each of them at once."""
        self._signals.begin()

    def check(self) -> None:
        """Raise Stopped if the ranks are to stop.  Collective."""
        if self._ranks.count == 1:
            self._signals.check()
            return
        earlier, self._answer = self._answer, self._ranks.start_sum([self._signals.number == each for each in SIGNALS])
        if earlier is not None:
            for number, rank_count in zip(SIGNALS, earlier.asnumpy()):
                if rank_count:
                    raise Stopped(number)
