# SPDX-License-Identifier: Apache-2.0
"""A group of one process, and a real one of two processes, which msrun's variables join."""

import random
import signal
import threading

import numpy as np
import pytest

from src.common.errors import UserError
from src.common.signals import Stopped, StopSignals
from src.distributed import process_group
from src.distributed.process_group import AgreedStop, ProcessGroup
from tests.processes import results_of_two_ranks

# Every collective operation once; prints the results of its rank as JSON.
PROGRAM = """
import json, signal, time
import numpy as np
from mindspore import Tensor
from src.common.errors import UserError
from src.common.signals import Stopped, StopSignals
from src.distributed.device import set_up
from src.distributed.process_group import AgreedStop

_, group = set_up("CPU", 0)
results = {"rank": group.rank, "count": group.count, "is_first": group.is_first}
results["mean"] = group.mean(Tensor(1.0 + 3.0 * group.rank))
results["gathered"] = group.gather(np.array([10 + group.rank, 20 + group.rank], np.int32)).tolist()
results["sums"] = group.sum([1, group.rank]).tolist()
results["local_count"] = group.local_count()
calls = []
group.first_does(lambda: calls.append(1))
results["calls"] = len(calls)
def fail():
    raise PermissionError(13, "Permission denied: \\u4e2d")
try:
    group.first_does(fail)
except (UserError, OSError) as error:
    results["error"] = [type(error).__name__, str(error)]
group.barrier()
def check_until_stopped(seconds, signal_rank, signal_after):
    # Returns the signal, the checks, the seconds since one rank has had it, and the exchanges.
    signals, checks, sent = StopSignals(), 0, None
    stop = AgreedStop(signals, group)
    exchange = group.sum
    group.sum = lambda numbers: exchanges.append(checks) or exchange(numbers)
    exchanges = []
    try:
        while checks < 2000:
            time.sleep(seconds)
            checks += 1
            if checks == signal_after:
                sent = time.monotonic()
                signals.number = signal.SIGTERM * (group.rank == signal_rank)
            stop.check()
    except Stopped as stopped:
        return stopped.signal_number, checks, time.monotonic() - sent, len(exchanges)
    finally:
        group.sum = exchange

results["fast"] = check_until_stopped(0.002, 1, 700)
results["slow"] = check_until_stopped(0.6, 1, 3)
signals = StopSignals()
stop = AgreedStop(signals, group)
signals.number = signal.SIGINT * (group.rank == 0)
try:
    stop.end()
except Stopped as stopped:
    results["end"] = stopped.signal_number
print("results" + json.dumps(results))
"""


@pytest.fixture(scope="module")
def results():
    """The results of both ranks, in the order of the ranks."""
    return results_of_two_ranks(PROGRAM)


def test_two_ranks_know_their_numbers_and_share_a_host(results):
    assert [(each["rank"], each["count"], each["is_first"]) for each in results] == [(0, 2, True), (1, 2, False)]
    assert [each["local_count"] for each in results] == [2, 2]


def test_collective_operations_give_every_rank_the_result_of_all(results):
    for each in results:
        assert each["mean"] == 2.5  # of 1 and 4
        assert each["gathered"] == [10, 20, 11, 21]
        assert each["sums"] == [2, 1]


def test_the_first_rank_acts_and_every_rank_raises_its_error(results):
    assert [each["calls"] for each in results] == [1, 0]
    message = "[Errno 13] Permission denied: \u4e2d"
    assert [each["error"] for each in results] == [["PermissionError", message], ["UserError", message]]


def test_all_ranks_stop_at_the_same_check_within_a_second_of_the_signal_of_one(results):
    numbers, checks, seconds, exchanges = zip(*(each["fast"] for each in results))
    assert numbers == (15, 15)
    assert checks[0] == checks[1] >= 700
    assert max(seconds) < 1
    assert exchanges[0] == exchanges[1] < checks[0] / 15  # where each takes 2 ms, 32 checks have one


def test_all_ranks_stop_after_the_step_of_the_signal_where_steps_take_long(results):
    assert [each["slow"][:2] for each in results] == [[15, 3], [15, 3]]


def test_a_signal_that_comes_after_the_last_check_stops_all_ranks_too(results):
    assert [each["end"] for each in results] == [2, 2]


class Clock:
    """The clock of the first rank, which runs in a thread of its own."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class Rank:
    """One of two ranks in threads, which really wait for each other's numbers."""

    def __init__(self, rank, shared):
        self.rank, self.count, self.is_first, self._shared = rank, 2, rank == 0, shared
        self.exchanges = 0

    def sum(self, numbers):
        self.exchanges += 1
        numbers_of, barrier = self._shared
        numbers_of[self.rank] = np.array(numbers, np.float32)
        barrier.wait(timeout=10)
        total = numbers_of[0] + numbers_of[1]
        barrier.wait(timeout=10)
        return total


def run_ranks(seconds_of_steps, signal_rank, signal_step, monkeypatch):
    """Let two ranks run steps of these simulated seconds, of which one gets a signal during a step.

    Return of both the steps done, the exchanges and the signal; and the seconds after that step.
    """
    clock, shared = Clock(), ({}, threading.Barrier(2))
    monkeypatch.setattr(process_group, "time", clock)
    ranks, results = [Rank(number, shared) for number in range(2)], [None, None]

    def train(rank):
        signals = StopSignals()
        stop, done = AgreedStop(signals, rank), 0
        try:
            for done, seconds in enumerate(seconds_of_steps, 1):
                if rank.is_first:
                    clock.now += seconds
                if (rank.rank, done) == (signal_rank, signal_step):
                    signals.number = signal.SIGTERM
                stop.check()
            stop.end()
        except Stopped as stopped:
            results[rank.rank] = done, rank.exchanges, stopped.signal_number

    threads = [threading.Thread(target=train, args=[rank]) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    done, exchanges, number = results[0]
    assert number == signal.SIGTERM
    return done, exchanges, sum(seconds_of_steps[signal_step:done])


@pytest.mark.parametrize("signal_rank", [0, 1])
@pytest.mark.parametrize(
    ("seconds", "signal_step", "latest_step", "most_exchanges"),
    [
        ([0.02] * 2000, 1000, 1020, 57),  # one in 20 steps
        ([0.0001] * 2000, 1001, 1033, 36),  # one in 32 steps, although that is sooner than needed
        ([2.0] * 20, 7, 7, 7),  # after each step
        ([30.0] + [0.02] * 2000, 1000, 1021, 57),  # the first step compiles
        ([0.02] * 2000, 1, 1, 1),
        ([0.02] * 100, 100, 100, 9),  # the last step: the ranks stop at the end
        ([0.002] * 1000 + [0.5] * 100, 1000, 1032, 36),  # steps become slow: one exchange is late
        ([0.002] * 1000 + [0.5] * 100, 1070, 1071, 60),  # and those after it are not
    ],
)
def test_ranks_exchange_signals_as_often_as_needed(
    signal_rank, seconds, signal_step, latest_step, most_exchanges, monkeypatch
):
    done, exchanges, _ = run_ranks(seconds, signal_rank, signal_step, monkeypatch)
    assert signal_step <= done <= latest_step
    assert exchanges <= most_exchanges


@pytest.mark.parametrize("seed", range(20))
def test_ranks_stop_in_time_at_any_pace(seed, monkeypatch):
    dice = random.Random(seed)
    pace = 10 ** dice.uniform(-4, 0.5)
    seconds = [pace * dice.uniform(0.7, 1.4) for _ in range(500)]
    signal_step = dice.randint(1, 500)
    _, exchanges, late = run_ranks(seconds, dice.randint(0, 1), signal_step, monkeypatch)
    assert late < 1
    assert exchanges <= signal_step + 1


def test_a_single_process_acts_itself_and_its_error_stays_the_same_object():
    done = []
    ProcessGroup().first_does(lambda: done.append(1))
    assert done == [1]
    for error in (UserError("a mistake"), PermissionError(13, "Permission denied", "x")):

        def fail(error=error):
            raise error

        with pytest.raises(type(error)) as caught:
            ProcessGroup().first_does(fail)
        assert caught.value is error


def test_a_single_process_is_the_only_one_on_its_host():
    assert ProcessGroup().local_count() == 1
