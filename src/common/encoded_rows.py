# SPDX-License-Identifier: Apache-2.0
"""Encoded rows as arrays: their check, as a network predicts a probability for any values, and their batches."""

from collections.abc import Iterator, Sequence

import numpy as np

from src.common.errors import UserError

NO_VALUE = -1  # in the columns of a multi-valued field, behind the ids of a row's values


def check_rows(
    sparse_ids: np.ndarray,
    dense_values: np.ndarray | None = None,
    *,
    vocabulary_size: int,
    source: str,
    list_width: int = 0,
) -> None:
    """Raise UserError if an id is not a row of the embedding table, or a dense value is NaN or infinite.

    sparse_ids: int32 [n, S]; the last list_width columns, of multi-valued fields, may be NO_VALUE.
    dense_values: float32 [n, N].  source: the file or split of the rows.  The message names it with the row and the
    column, counted from 1.
    """
    single = sparse_ids.shape[1] - list_width
    for first, ids, smallest in ((0, sparse_ids[:, :single], 0), (single, sparse_ids[:, single:], NO_VALUE)):
        if ids.size and not smallest <= ids.min() <= ids.max() < vocabulary_size:
            row, column = np.argwhere((ids < smallest) | (ids >= vocabulary_size))[0]
            raise UserError(
                f"{source}: row {row + 1}, column {first + column + 1}: the id {ids[row, column]} is not one of the "
                f"{vocabulary_size} ids of the embedding table, from 0 on; preprocess again"
            )
    if dense_values is not None and not np.isfinite(dense_values).all():
        row, column = np.argwhere(~np.isfinite(dense_values))[0]
        raise UserError(
            f"{source}: row {row + 1}, column {column + 1}: the dense value {dense_values[row, column]} is not finite; "
            "preprocess again"
        )


def batches_of(columns: Sequence[np.ndarray], batch_rows: int) -> Iterator[list[np.ndarray]]:
    """Yield arrays [n, ...] in batches [batch_rows, ...], of which the last one may be shorter; none if n is 0."""
    for start in range(0, len(columns[0]), batch_rows):
        yield [column[start : start + batch_rows] for column in columns]


def pad_batch(batch: Sequence[np.ndarray], batch_rows: int) -> list[np.ndarray]:
    """Return arrays [n, m] with rows of zeros behind them, [batch_rows, m]."""
    return [np.pad(column, ((0, batch_rows - len(column)), (0, 0))) for column in batch]
