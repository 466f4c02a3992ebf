# SPDX-License-Identifier: Apache-2.0
"""Parsed rows on disk, column by column and sorted by key, with a journal from which a killed run resumes."""

import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from src.common.files import write_text
from src.preprocessing.raw_columns import concat
from src.preprocessing.schema import KEY, KEY_BITS

JOURNAL_NAME = "journal.jsonl"
FORMAT_VERSION = 3  # of the journal; a spill of another version is not used
TEXT = "String"


class Spill:
    """The chunks of a raw file that have been parsed.

    folder: their folder.  Chunks of an earlier run with the same `identity` are kept, all else in it is removed.
    identity: everything that the parsed rows depend on, a dict for JSON.
    A chunk counts once its line of the journal is complete: its rows are written before.
    """

    def __init__(self, folder: pathlib.Path, identity: dict):
        self._folder = folder
        self._journal = folder / JOURNAL_NAME
        entries = _read_journal(self._journal)
        identity = {"format_version": FORMAT_VERSION, **identity}
        if not entries or entries[0] != identity:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            entries = [identity]
        self._chunks = [
            _SpilledChunk(folder, number, entry["rows"], entry["dtypes"]) for number, entry in enumerate(entries[1:])
        ]
        self.stats = [entry["stats"] for entry in entries[1:]]
        for path in _chunk_files(folder):
            if int(path.stem.removeprefix("chunk-")) >= len(self._chunks):
                path.unlink()
        _write_journal(self._journal, entries)

    @staticmethod
    def holds_chunks(folder: pathlib.Path) -> bool:
        """Tell whether there are chunks in a folder."""
        return any(_chunk_files(folder))

    def add(self, frame: pl.DataFrame, stats: dict) -> None:
        """Add a chunk: its rows, sorted by KEY, and its statistics, a dict for JSON, which are appended to `stats`."""
        dtypes = {name: str(dtype) for name, dtype in frame.schema.items()}
        chunk = _SpilledChunk(self._folder, len(self._chunks), frame.height, dtypes)
        chunk.write(frame)
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(json.dumps({"rows": frame.height, "dtypes": dtypes, "stats": stats}) + "\n")
        self._chunks.append(chunk)
        self.stats.append(stats)

    def column(self, name: str, row_counts: Iterable[int]) -> Iterator[pl.Series]:
        """Yield a column in chunks: of each chunk the first row_counts[chunk] values."""
        for chunk, row_count in zip(self._chunks, row_counts):
            if row_count:
                yield chunk.read(name, 0, row_count)

    def buckets(self, bits: int) -> Iterator[pl.DataFrame]:
        """Yield the rows of 2^bits ranges of keys, each sorted by key, in the order of the keys; no empty ones."""
        starts = [chunk.bucket_starts(bits) for chunk in self._chunks]
        for bucket in range(2**bits):
            ranges = [
                _RowRange(chunk, own[bucket], own[bucket + 1])
                for chunk, own in zip(self._chunks, starts)
                if own[bucket] < own[bucket + 1]
            ]
            if ranges:
                yield _read_ranges(ranges).sort(KEY)


class _SpilledChunk:
    """The rows of one chunk: numbers as raw bytes, column after column, and text as Arrow in a second file.

    dtypes: the polars type of each column by its name, as text.
    """

    def __init__(self, folder: pathlib.Path, number: int, row_count: int, dtypes: dict[str, str]):
        self._numbers_path = folder / f"chunk-{number:06d}.bin"
        self._texts_path = folder / f"chunk-{number:06d}.arrow"
        self._row_count, self.dtypes = row_count, dtypes
        numbers = {name: _numpy_dtype(dtype) for name, dtype in dtypes.items() if dtype != TEXT}
        sizes = [dtype.itemsize * row_count for dtype in numbers.values()]
        self._offsets = dict(zip(numbers, itertools.accumulate(sizes, initial=0)))

    def write(self, frame: pl.DataFrame) -> None:
        with open(self._numbers_path, "wb") as file:
            for name in self._offsets:
                file.write(frame[name].to_numpy())
        texts = [name for name, dtype in self.dtypes.items() if dtype == TEXT]
        if texts:
            with open(self._texts_path, "wb") as file:  # polars expands ~ and * in a path
                frame.select(texts).write_ipc(file)

    def read(self, name: str, start: int, end: int) -> pl.Series:
        """Return a column of the rows from `start` to `end`."""
        if self.dtypes[name] == TEXT:
            with open(self._texts_path, "rb") as file:
                return pl.read_ipc(file, columns=[name])[name][start:end]
        array = np.empty(end - start, _numpy_dtype(self.dtypes[name]))
        self.read_into({name: array}, start)
        return pl.Series(name, array)

    def read_into(self, arrays: dict[str, np.ndarray], start: int) -> None:
        """Fill arrays with columns of numbers, by name, of the rows from `start` on."""
        file = os.open(self._numbers_path, os.O_RDONLY)
        try:
            for name, array in arrays.items():
                size = os.preadv(file, [array.data], self._offsets[name] + start * array.itemsize)
                if size != array.nbytes:
                    raise OSError(f"{self._numbers_path} is truncated; delete its folder")
        finally:
            os.close(file)

    def bucket_starts(self, bits: int) -> list[int]:
        """Return the index of the first row of each of 2^bits ranges of keys, and the number of rows."""
        keys = self.read(KEY, 0, self._row_count).to_numpy()
        buckets = keys >> np.uint64(KEY_BITS - bits) if bits else np.zeros(self._row_count, np.uint64)
        return np.searchsorted(buckets, np.arange(2**bits + 1, dtype=np.uint64)).tolist()


@dataclasses.dataclass(frozen=True)
class _RowRange:
    """The rows of a chunk from `start` to `end`."""

    chunk: _SpilledChunk
    start: int
    end: int

    def __len__(self):
        return self.end - self.start

    def read(self, name: str) -> pl.Series:
        return self.chunk.read(name, self.start, self.end)


def _read_ranges(ranges: list[_RowRange]) -> pl.DataFrame:
    """Return the rows of some ranges as one frame."""
    names = list(ranges[0].chunk.dtypes)
    arrays, row_count = {}, sum(map(len, ranges))
    for name in names:
        dtypes = {rows.chunk.dtypes[name] for rows in ranges}
        if len(dtypes) == 1 and TEXT not in dtypes:
            arrays[name] = np.empty(row_count, _numpy_dtype(*dtypes))
    offset = 0
    for rows in ranges:
        end = offset + len(rows)
        rows.chunk.read_into({name: array[offset:end] for name, array in arrays.items()}, rows.start)
        offset = end
    columns = [
        pl.Series(name, arrays[name]) if name in arrays else concat([rows.read(name) for rows in ranges])
        for name in names
    ]
    return pl.DataFrame(columns)


def _numpy_dtype(dtype: str) -> np.dtype:
    return np.dtype(dtype.lower())


def _chunk_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return folder.glob("chunk-*")


def _read_journal(path: pathlib.Path) -> list[dict]:
    """Return the complete lines of a journal, parsed; none if there is no journal."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # a line that was truncated by a kill has no end
    return [json.loads(line) for line in lines]


def _write_journal(path: pathlib.Path, entries: list[dict]) -> None:
    write_text(path, "".join(json.dumps(entry) + "\n" for entry in entries))
