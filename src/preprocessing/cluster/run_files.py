# SPDX-License-Identifier: Apache-2.0
"""Sorted runs: rows in the order of their keys, row by row, so that a range of keys is read at once.

The spill of a single process has its rows column by column, as it counts columns from there; here the counts are made
while the rows are in memory.
"""

import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from src.preprocessing.cluster.array_files import read_rows
from src.preprocessing.cluster.key_ranges import KeyRanges
from src.preprocessing.cluster.storage import Storage
from src.preprocessing.raw_columns import concat
from src.preprocessing.schema import KEY, LABEL, WEIGHT, FieldSchema

SLICE_ROWS = 1 << 13  # whose columns and rows both fit the processor's cache while one becomes the other
ROWS_SUFFIX, TEXTS_SUFFIX, TEXT_STARTS_SUFFIX, FIRST_ROWS_SUFFIX = ".rows", ".texts", ".texts.npy", ".npy"
TEXT = "String"


@dataclasses.dataclass(frozen=True)
class Run:
    """A sorted run.

    path: of its files in the storage, without their suffixes.
    train_rows: number of its rows that are of the training set.
    wide: by name the types of the columns whose type is not the one of usual_types().
    """

    path: str
    train_rows: int
    wide: dict[str, str]


def usual_types(schema: FieldSchema) -> dict[str, str]:
    """Return the type of each column of a run of ordinary rows, by name; the widest types come first."""
    categories = "Int32" if schema.categories_are_ids else "UInt32"
    types = {KEY: "UInt64", **dict.fromkeys(schema.float_names, "Float64"), **dict.fromkeys(schema.list_names, TEXT)}
    types |= dict.fromkeys(schema.integer_names, "Int32") | dict.fromkeys(schema.category_names, categories)
    weight = {WEIGHT: "Float32"} if schema.weight_name else {}
    return {**types, **weight, LABEL: "Int8"}


def row_bytes(schema: FieldSchema) -> int:
    """Return the bytes of an ordinary row."""
    return _record_of(usual_types(schema)).itemsize


def write_run(path: pathlib.Path, rows: pl.DataFrame, ranges: KeyRanges, schema: FieldSchema) -> dict[str, str]:
    """Write rows, sorted by KEY; return Run.wide.  path: that of the Run, on this machine."""
    usual = usual_types(schema)
    types = {name: str(rows.schema[name]) for name in usual}
    arrays = {name: rows[name].to_numpy() for name, dtype in types.items() if dtype != TEXT}
    record = _record_of(types)
    with open(f"{path}{ROWS_SUFFIX}", "wb") as file:
        for start in range(0, rows.height, SLICE_ROWS):
            records = np.zeros(min(SLICE_ROWS, rows.height - start), record)
            for name, array in arrays.items():
                records[name] = array[start : start + SLICE_ROWS]
            file.write(records.data)
    first_rows = ranges.first_rows(arrays[KEY])
    np.save(f"{path}{FIRST_ROWS_SUFFIX}", first_rows)
    texts = [name for name, dtype in types.items() if dtype == TEXT]
    if texts:
        _write_texts(path, rows.select(texts), first_rows)
    return {name: dtype for name, dtype in types.items() if dtype != usual[name]}


def _write_texts(path, texts, first_rows):
    """Write the columns of text, range by range."""
    starts = [0]
    with open(f"{path}{TEXTS_SUFFIX}", "wb") as file:
        for start, end in zip(first_rows.tolist(), first_rows[1:].tolist()):
            if start < end:
                buffer = io.BytesIO()
                texts[start:end].write_ipc(buffer)
                file.write(buffer.getbuffer())
            starts.append(file.tell())
    np.save(f"{path}{TEXT_STARTS_SUFFIX}", np.array(starts))


def read_first_rows(storage: Storage, path: str) -> np.ndarray:
    """Return the first rows of the ranges of a run, as KeyRanges gives them."""
    return np.load(io.BytesIO(storage.read(f"{path}{FIRST_ROWS_SUFFIX}")))


def read_ranges(
    storage: Storage,
    runs: Sequence[Run],
    first_rows: np.ndarray,
    first_range: int,
    end_range: int,
    schema: FieldSchema,
) -> pl.DataFrame:
    """Return the rows of some ranges of keys from all runs, in no particular order.

    first_rows: of the ranges and of the one after them in each run, uint32 [end_range - first_range + 1, runs].
    """
    starts, ends = first_rows[0].tolist(), first_rows[-1].tolist()
    alike: dict[tuple, list[tuple[Run, int, int]]] = {}
    for run, start, end in zip(runs, starts, ends):
        if start < end:
            alike.setdefault(tuple(run.wide.items()), []).append((run, start, end))
    usual = usual_types(schema)
    if not alike:
        return pl.DataFrame(schema={name: getattr(pl, dtype) for name, dtype in usual.items()})
    frames = []
    for parts in alike.values():
        types = {**usual, **parts[0][0].wide}
        columns = _columns_of(_read_records(storage, parts, _record_of(types)))
        texts = [name for name, dtype in types.items() if dtype == TEXT]
        if texts:
            read = [_read_texts(storage, run.path, first_range, end_range) for run, _, _ in parts]
            columns.update((name, pl.concat([frame[name] for frame in read])) for name in texts)
        frames.append(columns)
    return pl.DataFrame([concat([columns[name] for columns in frames]) for name in usual])


def _read_records(storage, parts, record):
    """Return the records of parts of runs with the same types, (run, first row, end row) each."""
    size = record.itemsize
    spans = [(f"{run.path}{ROWS_SUFFIX}", start * size, end * size) for run, start, end in parts]
    return np.frombuffer(b"".join(storage.read_spans(spans)), record)


def _columns_of(records: np.ndarray) -> dict[str, pl.Series]:
    """Return the fields of records as columns by name."""
    arrays = {name: np.empty(len(records), records.dtype[name]) for name in records.dtype.names}
    for start in range(0, len(records), SLICE_ROWS):
        part = records[start : start + SLICE_ROWS]
        for name, array in arrays.items():
            array[start : start + SLICE_ROWS] = part[name]
    return {name: pl.Series(name, array) for name, array in arrays.items()}


def _read_texts(storage, path, first_range, end_range):
    """Return the columns of text of some ranges of a run, of which at least one has rows."""
    starts = read_rows(storage, [f"{path}{TEXT_STARTS_SUFFIX}"], first_range, end_range + 1)[0].tolist()
    (content,) = storage.read_spans([(f"{path}{TEXTS_SUFFIX}", starts[0], starts[-1])])
    spans = [(start - starts[0], end - starts[0]) for start, end in itertools.pairwise(starts) if start < end]
    return pl.concat([pl.read_ipc(content[start:end]) for start, end in spans])


def _record_of(types: dict[str, str]) -> np.dtype:
    """Return the type of a record with the columns of numbers; it is aligned, as copying is slower otherwise."""
    return _aligned_record(tuple((name, dtype.lower()) for name, dtype in types.items() if dtype != TEXT))


@functools.cache
def _aligned_record(fields):
    return np.dtype(list(fields), align=True)
