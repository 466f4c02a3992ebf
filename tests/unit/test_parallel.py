# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from src.preprocessing.parallel import parallel_map, prefetch


def test_items_come_in_order():
    assert list(prefetch(range(100))) == list(range(100))
    assert list(prefetch([])) == []


def test_an_error_is_raised_where_the_items_are_taken():
    def broken():
        yield 1
        raise OSError("disk")

    items = prefetch(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="disk"):
        next(items)


def test_the_thread_ends_when_nobody_takes_more():
    before = threading.active_count()
    items = prefetch(iter(int, 1))
    next(items)
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before


def test_mapped_items_come_in_order_though_computed_at_the_same_time():
    both = threading.Barrier(2, timeout=10)

    def slow_square(number):
        both.wait()  # passes only if two threads are here at once
        return number * number

    assert list(parallel_map(slow_square, range(10), workers=2)) == [number * number for number in range(10)]


def test_an_error_in_a_mapped_item_is_raised_when_its_turn_comes():
    results = parallel_map(lambda number: 6 // number, [3, 0, 1], workers=2)
    assert next(results) == 2
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_results_from_before_the_items_failed_are_not_lost():
    def broken():
        yield from (1, 2)
        raise OSError("disk")

    results = parallel_map(lambda number: -number, broken(), workers=3)
    assert [next(results), next(results)] == [-1, -2]
    with pytest.raises(OSError, match="disk"):
        next(results)
