# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.common.encoded_rows import batches_of, check_rows, pad_batch
from src.common.errors import UserError

IDS = st.sampled_from([0, 1, 6, 7, 8, -1, 2**31 - 1, -(2**31)])
VALUES = st.sampled_from([0.0, -1.5, 3e38, math.nan, math.inf, -math.inf])


def message_of(ids, values):
    try:
        check_rows(ids, values, vocabulary_size=7, source="here")
    except UserError as error:
        return str(error)
    return None


@given(st.lists(st.tuples(IDS, IDS, VALUES), max_size=6))
def test_the_first_bad_cell_is_named_by_row_and_column(rows):
    ids = np.array([row[:2] for row in rows], np.int32).reshape(-1, 2)
    values = np.array([row[2:] for row in rows], np.float32).reshape(-1, 1)
    bad_ids = [
        (row, column) for row in range(len(rows)) for column in range(2) if rows[row][column] not in range(7)
    ]  # fmt: skip
    bad_values = [row for row in range(len(rows)) if not math.isfinite(rows[row][2])]
    message = message_of(ids, values)
    if bad_ids:
        row, column = bad_ids[0]
        assert message.startswith(f"here: row {row + 1}, column {column + 1}: the id {rows[row][column]} is not one")
    elif bad_values:
        assert message.startswith(
            f"here: row {bad_values[0] + 1}, column 1: the dense value {values[bad_values[0], 0]} "
        )
    else:
        assert message is None


@pytest.mark.parametrize(("rows", "sizes"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_batches_hold_each_row_once_in_order_and_padding_adds_zeros_behind(rows, sizes):
    columns = [np.arange(2 * rows).reshape(rows, 2) + 1, np.arange(rows)[:, None] + 1.5]
    batches = list(batches_of(columns, 3))
    assert [len(batch[0]) for batch in batches] == sizes
    for joined, column in zip(zip(*batches), columns):
        np.testing.assert_array_equal(np.concatenate(joined), column)
    for batch in batches:
        for padded, column in zip(pad_batch(batch, 3), batch):
            assert padded.shape == (3, column.shape[1])
            assert (padded[: len(column)] == column).all()
            assert not padded[len(column) :].any()
