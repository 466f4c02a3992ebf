# SPDX-License-Identifier: Apache-2.0
"""The processes that train together, each with a share of the rows of every step."""

import platform
import zlib

import mindspore as ms
from mindspore import Tensor, ops

from src.common.errors import UserError
from src.common.signals import SIGNALS, Stopped

MESSAGE_LENGTH = 1000


class ProcessGroup:
    """Process number `rank` of `count`; what has to do with the others must be called by all of them.

    One process alone needs no communication, more of them need mindspore.communication.init().
    """

    def __init__(self, rank=0, count=1):
        self.rank, self.count = rank, count
        if count > 1:
            self._sum = ops.AllReduce(ops.ReduceOp.SUM)  # the only one that CPUs have
            self._gather = ops.AllGather()

    @property
    def is_first(self):
        """Whether it is this one that writes what is written once."""
        return self.rank == 0

    def mean(self, scalar):
        """Return the mean, a float, of a scalar Tensor of each rank."""
        if self.count == 1:
            return scalar.asnumpy().item()
        return self._sum(ops.reshape(scalar, (1,))).asnumpy().item() / self.count

    def gather(self, column):
        """Return the numpy arrays [n] of all ranks, float32 or int32, one behind the other, [count * n]."""
        return column if self.count == 1 else self._gather(Tensor(column)).asnumpy()

    def start_sum(self, numbers):
        """Begin to add up lists of numbers, one of each rank; return a Tensor that can be asked for the sums later."""
        numbers = Tensor(numbers, ms.float32)
        return numbers if self.count == 1 else self._sum(numbers)

    def local_count(self):
        """Return how many of the processes run on the machine of this one."""
        if self.count == 1:
            return 1
        name = zlib.crc32(platform.node().encode()) % 2**24  # float32 holds such numbers exactly
        names = self.start_sum([name * (rank == self.rank) for rank in range(self.count)]).asnumpy()
        return int((names == name).sum())

    def first_does(self, action):
        """Let the first rank do what may fail, while the others wait; if it fails, all raise a UserError that says why.

        action: a function without arguments; UserError and OSError tell that it has failed.
        """
        error = None
        if self.is_first:
            try:
                action()
            except (UserError, OSError) as caught:
                error = caught
        if self.count > 1:
            codes = [ord(letter) for letter in str(error or "")[:MESSAGE_LENGTH]]  # float32 holds them exactly
            codes += [0] * (MESSAGE_LENGTH - len(codes))
            text = "".join(chr(int(code)) for code in self.start_sum(codes).asnumpy() if code)
            error = error or (UserError(text) if text else None)
        if error is not None:
            raise error

    def barrier(self):
        """Wait until all ranks have come here."""
        if self.count > 1:
            self.start_sum([0]).asnumpy()


class AgreedStop:
    """Lets all ranks stop after the same step when one of them has got a signal.

    With several ranks a check sees the signals that had come before the last check: so it waits for a step that is
    over and not for the one that a device is at.
    """

    def __init__(self, signals, ranks):
        """signals: a StopSignals."""
        self._signals, self._ranks = signals, ranks
        self._answer = None

    def begin(self):
        """Let a signal from now on stop the ranks together, not each of them at once."""
        self._signals.begin()

    def check(self):
        """Raise Stopped if the ranks are to stop; to be called by all of them."""
        if self._ranks.count == 1:
            return self._signals.check()
        earlier, self._answer = self._answer, self._ranks.start_sum([self._signals.number == each for each in SIGNALS])
        if earlier is not None:
            for number, rank_count in zip(SIGNALS, earlier.asnumpy()):
                if rank_count:
                    raise Stopped(number)
        return None
