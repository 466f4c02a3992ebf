# SPDX-License-Identifier: Apache-2.0
"""The columns of a MindRecord record, each the bytes of an array for its R rows.

sparse_ids: int32 [R, S], the ids of the fields with one value.  list_ids: those of multi-valued fields; see pack_lists.
dense_values: float32 [R, N].  label: float32 [R].  weight: float32 [R].  A column without fields is left out, and
weights without a column for them.
"""

from collections.abc import Sequence

import numpy as np

from src.common.encoded_rows import NO_VALUE

SPARSE_IDS, LIST_IDS, DENSE_VALUES, LABEL, WEIGHT = "sparse_ids", "list_ids", "dense_values", "label", "weight"
LENGTH_TYPE, ID_TYPE = np.uint8, np.int32


def pack_lists(ids: np.ndarray, lengths: Sequence[int]) -> bytes:
    """Return ids of multi-valued fields as bytes: the numbers of values, uint8 [R, fields], then all ids, row by row.

    ids: int32 [R, sum of lengths], NO_VALUE behind the values of each field.  lengths: the columns of each field.
    """
    is_value = ids != NO_VALUE
    starts = np.cumsum([0, *lengths[:-1]])
    counts = np.add.reduceat(is_value, starts, axis=1, dtype=LENGTH_TYPE)
    return counts.tobytes() + ids[is_value].tobytes()


def unpack_lists(packed: np.ndarray, row_count: int, lengths: Sequence[int]) -> np.ndarray:
    """Return the ids of which pack_lists made bytes, uint8 [n], for so many rows."""
    size = row_count * len(lengths) * np.dtype(LENGTH_TYPE).itemsize
    counts = packed[:size].view(LENGTH_TYPE).reshape(row_count, len(lengths))
    is_value = np.hstack([np.arange(length) < counts[:, [field]] for field, length in enumerate(lengths)])
    ids = np.full(is_value.shape, NO_VALUE, ID_TYPE)
    ids[is_value] = np.frombuffer(packed[size:].tobytes(), ID_TYPE)
    return ids
