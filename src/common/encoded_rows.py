# SPDX-License-Identifier: Apache-2.0
"""Encoded rows as arrays: their check, as a network predicts a probability for any values, and their batches."""

from collections.abc import Iterator, Sequence

import numpy as np

from src.common.errors import UserError


def check_rows(
    sparse_ids: np.ndarray, dense_values: np.ndarray | None = None, *, vocabulary_size: int, source: str
) -> None:
    """Raise UserError if an id is not a row of the embedding table, or a dense value is NaN or infinite.

    sparse_ids: int32 [n, S].  dense_values: float32 [n, N].  source: the file or split of the rows.  The message
    names it with the row and the column, counted from 1.
    """
    if sparse_ids.size and not 0 <= sparse_ids.min() <= sparse_ids.max() < vocabulary_size:
        row, column = np.argwhere((sparse_ids < 0) | (sparse_ids >= vocabulary_size))[0]
        raise UserError(
            f"{source}: row {row + 1}, column {column + 1}: the id {sparse_ids[row, column]} is not one of the "
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
