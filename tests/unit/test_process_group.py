# SPDX-License-Identifier: Apache-2.0
"""A group of one process, and a real one of two processes, which msrun's variables join."""

import pytest

from src.common.errors import UserError
from src.distributed.process_group import ProcessGroup
from tests.processes import results_of_two_ranks

# Every collective operation once; prints the results of its rank as JSON.
PROGRAM = """
import json, signal
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
results["sums"] = group.start_sum([1, group.rank]).asnumpy().tolist()
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
signals = StopSignals()
stop, checks = AgreedStop(signals, group), 0
try:
    while True:
        if group.rank == 1 and checks == 2:
            signals.number = signal.SIGTERM
        stop.check()
        checks += 1
except Stopped as stopped:
    results["stopped"] = [stopped.signal_number, checks]
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


def test_all_ranks_stop_at_the_check_after_the_signal_of_one(results):
    # Rank 1 gets the signal before its third check, which tells the others; the fourth one of both stops.
    assert [each["stopped"] for each in results] == [[15, 3], [15, 3]]


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
