# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from src.background import in_background


def test_items_come_in_order():
    assert list(in_background(range(100))) == list(range(100))
    assert list(in_background([])) == []


def test_an_error_is_raised_where_the_items_are_taken():
    def broken():
        yield 1
        raise OSError("disk")

    items = in_background(broken())
    assert next(items) == 1
    with pytest.raises(OSError, match="disk"):
        next(items)


def test_the_thread_ends_when_nobody_takes_more():
    before = threading.active_count()
    items = in_background(iter(int, 1))
    next(items)
    assert threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before
