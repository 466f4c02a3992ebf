# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.training import shuffling
from src.training.shuffling import LEAST_STEPS, WINDOW_ROWS, Shuffling

# (records, rows of a record, records of a batch): a window of all, many steps, rows that the steps do not divide,
# records of one row, a batch of one record, and records that are left out.
SIZES = [(60, 50, 3), (900, 8, 4), (128, 7, 2), (500, 1, 20), (37, 10, 1), (41, 10, 2)]


def steps_of(shuffling, epoch, rank=0):
    """Return the (record, row) pairs of each step that a rank reads, a set per step; they are all different."""
    order = np.concatenate(shuffling.records_of_windows(epoch, rank))
    steps, start = [], 0
    for window in shuffling.windows():
        index = shuffling.rows_of_steps(epoch, window, rank)
        assert index.shape == (len(window), shuffling.records_per_batch * shuffling.rows_per_record)
        for rows in index:
            pairs = [(int(order[start + row // shuffling.rows_per_record]), int(row) % shuffling.rows_per_record)
                     for row in rows]  # fmt: skip
            assert len(set(pairs)) == len(pairs)
            steps.append(set(pairs))
        start += len(window) * shuffling.records_per_batch
    assert start == len(order)
    return steps


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of at least two steps and about 500 rows."""
    monkeypatch.setattr(shuffling, "WINDOW_ROWS", 500)
    monkeypatch.setattr(shuffling, "LEAST_STEPS", 2)


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("sizes", SIZES)
def test_an_epoch_has_each_row_of_its_records_once(sizes):
    records, rows, records_per_batch = sizes
    steps = steps_of(Shuffling(*sizes, 1, seed=3), 0)
    assert len(steps) == records // records_per_batch
    everything = set.union(*steps)
    assert len(everything) == sum(map(len, steps)) == len(steps) * records_per_batch * rows
    read = {record for record, _ in everything}
    assert len(read) == len(steps) * records_per_batch
    assert everything == {(record, row) for record in read for row in range(rows)}


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("rank_count", [2, 3])
@pytest.mark.parametrize("sizes", [(60, 50, 1), (900, 8, 2), (129, 7, 2), (500, 1, 20)])
def test_a_step_has_the_same_rows_however_many_ranks_there_are(sizes, rank_count):
    records, rows, records_per_batch = sizes
    alone = steps_of(Shuffling(records, rows, records_per_batch * rank_count, 1, seed=3), 1)
    together = Shuffling(records, rows, records_per_batch, rank_count, seed=3)
    parts = [steps_of(together, 1, rank) for rank in range(rank_count)]
    assert {len(part) for part in parts} == {len(alone)}
    for step, rows_of_one in enumerate(alone):
        assert set.union(*(part[step] for part in parts)) == rows_of_one
        assert sum(len(part[step]) for part in parts) == len(rows_of_one)  # no row comes to two ranks


def test_the_order_is_a_function_of_seed_and_epoch():
    orders = {}
    for seed, epoch in ((3, 0), (3, 1), (4, 0)):
        first, second = (steps_of(Shuffling(64, 50, 4, 1, seed), epoch) for _ in range(2))
        assert first == second
        orders[seed, epoch] = first
    assert orders[3, 0] != orders[3, 1]
    assert orders[3, 0] != orders[4, 0]


def test_other_records_are_left_out_in_another_epoch():
    left_out = [
        set(range(41)) - set(Shuffling(41, 10, 2, 1, 0).records_of_windows(epoch, 0)[0].tolist()) for epoch in range(9)
    ]
    assert all(len(each) == 1 for each in left_out)
    assert len(set.union(*left_out)) > 3


def test_a_batch_mixes_all_records_of_its_window():
    shuffling = Shuffling(1600, 1000, 16, 1, seed=1)  # the default batch and records, 100 steps
    windows = shuffling.windows()
    assert [len(window) for window in windows] == [14, 14, 14, 15, 14, 14, 15]  # of at most 16
    window = windows[0]
    for rows in shuffling.rows_of_steps(0, window, 0):
        records, counts = np.unique(rows // 1000, return_counts=True)
        assert len(records) == 14 * 16
        assert set(counts) == {71, 72}  # 1000 / 14


def test_two_rows_of_a_record_meet_again_no_more_often_than_by_chance():
    shuffling = Shuffling(200, 8, 4, 1, seed=1)  # one window of 50 steps, so no step has two rows of a record
    meetings = np.zeros((2, 1600))
    for epoch in range(50):
        (order,) = shuffling.records_of_windows(epoch, 0)
        (window,) = shuffling.windows()
        for rows in shuffling.rows_of_steps(epoch, window, 0):
            numbers = order[rows // 8] * 8 + rows % 8
            for number, first in enumerate((0, 9)):  # rows of two records
                meetings[number, numbers] += first in numbers
    for number, first in enumerate((0, 9)):
        assert meetings[number, first] == 50
        others = np.delete(meetings[number], np.arange(first // 8 * 8, first // 8 * 8 + 8))
        assert not meetings[number][first // 8 * 8 : first // 8 * 8 + 8].sum() - 50
        # 31 of the other 1592 rows meet it each epoch: binomial with p = 31 / 1592, mean 0.97, variance 0.95.
        assert others.sum() == 50 * 31
        assert others.var() == pytest.approx(50 * (31 / 1592) * (1 - 31 / 1592), rel=0.15)


@pytest.mark.parametrize(("records_per_step", "rows", "steps"), [(16, 1000, 16), (128, 1000, 8), (64, 8, 512)])
def test_the_memory_of_a_window_is_limited(records_per_step, rows, steps):
    shuffling = Shuffling(512 * 64, rows, records_per_step, 1, 0)
    assert max(map(len, shuffling.windows())) == steps
    assert steps == max(WINDOW_ROWS // (records_per_step * rows), LEAST_STEPS)
