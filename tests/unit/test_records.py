# SPDX-License-Identifier: Apache-2.0
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from src.common.encoded_rows import NO_VALUE
from src.common.records import pack_lists, unpack_lists


def ids_of(counts, lengths, seed=0):
    """Return rows with so many values in each field, int32 [R, sum of lengths].  counts: [R][fields]."""
    random = np.random.default_rng(seed)
    rows = []
    for row in counts:
        cells = []
        for count, length in zip(row, lengths):
            cells += [*random.integers(0, 2**31, count).tolist(), *[NO_VALUE] * (length - count)]
        rows.append(cells)
    return np.array(rows, np.int32).reshape(len(counts), sum(lengths))


@st.composite
def lists(draw):
    lengths = draw(st.lists(st.integers(1, 5) | st.just(64), min_size=1, max_size=4))
    row_count = draw(st.integers(1, 6))
    return [[draw(st.integers(0, length)) for length in lengths] for _ in range(row_count)], lengths


@settings(max_examples=200, deadline=None)
@given(lists=lists(), seed=st.integers(0, 9))
def test_rows_come_back_as_they_were(lists, seed):
    counts, lengths = lists
    ids = ids_of(counts, lengths, seed)
    packed = pack_lists(ids, lengths)
    assert len(packed) == sum(1 + 4 * count for row in counts for count in row)
    found = unpack_lists(np.frombuffer(packed, np.uint8), len(counts), lengths)
    assert found.dtype == np.int32 and np.array_equal(found, ids)


def test_the_bytes_are_the_numbers_of_values_and_then_the_ids():
    # Two rows of fields of 2 and 1 columns: 7 and 0x01020304 with none, then none with 5.
    ids = np.array([[7, 0x01020304, -1], [-1, -1, 5]], np.int32)
    assert pack_lists(ids, [2, 1]) == bytes([2, 0, 0, 1]) + bytes([7, 0, 0, 0, 4, 3, 2, 1, 5, 0, 0, 0])


def test_ids_may_be_any_but_the_mark_of_no_value():
    ids = np.array([[0, 2**31 - 1]], np.int32)
    assert np.array_equal(unpack_lists(np.frombuffer(pack_lists(ids, [2]), np.uint8), 1, [2]), ids)


def test_rows_of_padding_have_no_values():
    ids = np.full((3, 4), NO_VALUE, np.int32)
    assert pack_lists(ids, [3, 1]) == bytes(6)
    assert np.array_equal(unpack_lists(np.zeros(6, np.uint8), 3, [3, 1]), ids)
