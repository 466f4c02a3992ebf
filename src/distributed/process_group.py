# SPDX-License-Identifier: Apache-2.0
"""The processes that train together, each on a part of the rows of every step, and their collective operations."""

import platform
import time
import zlib
from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.common.errors import UserError
from src.common.signals import SIGNALS, Stopped, StopSignals

MESSAGE_LENGTH = 1000
SECONDS_BETWEEN_EXCHANGES = 0.4  # of stop signals; the ranks have stopped after about twice that
MOST_CHECKS = 32  # between two exchanges, so that steps that become slow do not delay the next one without limit


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

    def sum(self, numbers: Sequence[float]) -> np.ndarray:
        """Add lists of numbers over all ranks; return them as float32 [n].  Collective."""
        own = Tensor(numbers, ms.float32)
        return (own if self.count == 1 else self._all_reduce(own)).asnumpy()

    def local_count(self) -> int:
        """Return how many of the ranks run on this host.  Collective."""
        if self.count == 1:
            return 1
        host = zlib.crc32(platform.node().encode()) % 2**24  # float32 holds these numbers exactly
        hosts = self.sum([host * (rank == self.rank) for rank in range(self.count)])
        return int((hosts == host).sum())

    def first_does(self, action: Callable[[], object]) -> None:
        """Let the first rank call `action` while the others wait; if it fails, all ranks raise the error.  Collective.

        For the errors see all_do.
        """
        self.all_do(action if self.is_first else lambda: None)

    def all_do(self, action: Callable[[], object]) -> None:
        """Let every rank call `action`; if it fails on one of them, all ranks raise the error.  Collective.

        The failures of `action` are UserError and OSError; the ranks on which it has not failed get a UserError with
        the message of the first one on which it has.
        """
        error = None
        try:
            action()
        except (UserError, OSError) as caught:
            error = caught
        if self.count > 1:
            own = [ord(character) for character in str(error or "")[:MESSAGE_LENGTH]]
            codes = np.array(own + [0] * (MESSAGE_LENGTH - len(own)), np.int32)
            messages = self.gather(codes).reshape(self.count, MESSAGE_LENGTH)
            message = next(("".join(map(chr, each[each > 0])) for each in messages if each.any()), "")
            error = error or (UserError(message) if message else None)
        if error is not None:
            raise error

    def barrier(self) -> None:
        """Wait until all ranks have called this.  Collective."""
        if self.count > 1:
            self.sum([0])


class AgreedStop:
    """Lets all ranks stop at the same check of a loop when one of them has received a signal.

    A loop has an AgreedStop of its own, and checks after each of its rounds.  With several ranks most checks do
    nothing, as an exchange waits for the device: there is one in about SECONDS_BETWEEN_EXCHANGES, by the time that
    rounds have taken, and at the latest after MOST_CHECKS rounds.  In it the first rank says after how many checks the
    next is due, as only one clock can decide that for all.
    """

    def __init__(self, signals: StopSignals, ranks: ProcessGroup):
        self._signals, self._ranks = signals, ranks
        self._checks = 0  # since the last exchange
        self._interval = 1  # checks from that to the next one, the same on all ranks
        self._seconds_per_check: float | None = None  # until there have been two exchanges
        self._last_exchange: float | None = None

    def begin(self) -> None:
        """From now on a signal stops all ranks together, not each of them at once."""
        self._signals.begin()

    def end(self) -> None:
        """Let a signal end each process from now on; raise Stopped if one has come on any rank.  Collective."""
        if self._ranks.count > 1:
            self._exchange()
        self._signals.end()

    def check(self) -> None:
        """Raise Stopped if the ranks are to stop.  Collective."""
        if self._ranks.count == 1:
            self._signals.check()
            return
        self._checks += 1
        if self._checks >= self._interval:
            self._exchange()

    def _exchange(self):
        received = [self._signals.number == each for each in SIGNALS]
        *received, interval = self._ranks.sum([*received, self._due() if self._ranks.is_first else 0])
        for number, rank_count in zip(SIGNALS, received):
            if rank_count:
                raise Stopped(number)
        now = time.monotonic()  # the device has done all rounds by now, so this is the time of whole ones
        if self._last_exchange is not None and self._checks:
            self._seconds_per_check = (now - self._last_exchange) / self._checks
        self._checks, self._interval, self._last_exchange = 0, int(interval), now

    def _due(self):
        """Return the number of checks until the next exchange."""
        if self._seconds_per_check is None:
            return 1
        return max(1, min(int(SECONDS_BETWEEN_EXCHANGES / self._seconds_per_check), MOST_CHECKS))
