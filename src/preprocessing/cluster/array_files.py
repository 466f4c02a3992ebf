# SPDX-License-Identifier: Apache-2.0
"""Rows of arrays in files of the storage that np.save has written, without the rest of the files."""

import io
import math
from collections.abc import Sequence

import numpy as np

from src.preprocessing.cluster.storage import Storage

HEADER_BYTES = 128  # of the arrays of numpy that are used here


def read_rows(storage: Storage, names: Sequence[str], start: int, end: int) -> list[np.ndarray]:
    """Return the rows from `start` to `end` of the array in each file."""
    headers = storage.read_spans([(name, 0, HEADER_BYTES) for name in names])
    shapes, dtypes = zip(*map(_read_header, headers))
    sizes = [math.prod(shape[1:]) * dtype.itemsize for shape, dtype in zip(shapes, dtypes)]  # of a row
    spans = [(name, HEADER_BYTES + start * size, HEADER_BYTES + end * size) for name, size in zip(names, sizes)]
    contents = storage.read_spans(spans)
    return [
        np.frombuffer(content, dtype).reshape(end - start, *shape[1:])
        for content, shape, dtype in zip(contents, shapes, dtypes)
    ]


def _read_header(content):
    """Return the shape and the type of an array from the beginning of its file."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if is_fortran or file.tell() != HEADER_BYTES:
        raise ValueError("an array must be in C order, with a header of version 1.0")
    return shape, dtype
