# SPDX-License-Identifier: Apache-2.0
"""Parsed rows on disk, column by column and sorted by key, with a journal that lets a killed run go on."""

import itertools
import json
import os
import pathlib
import shutil

import numpy as np
import polars as pl

from src.preprocessing.raw_columns import concat
from src.preprocessing.schema import KEY, KEY_BITS

JOURNAL_NAME = "journal.jsonl"
TEXT = "String"


class Spill:
    """The blocks of a raw file that have been parsed.

    folder: where they are.  Blocks of an earlier run with the same `identity` are kept, all else in it is removed.
    identity: what must be equal for that work to be worth anything, a dict for JSON.
    A block counts once its line of the journal is whole: its rows are written before.
    """

    def __init__(self, folder, identity):
        self._folder = pathlib.Path(folder)
        self._journal = self._folder / JOURNAL_NAME
        entries = _read_journal(self._journal)
        if not entries or entries[0] != identity:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            entries = [identity]
        self._blocks = [_Block(self._folder, number, *entry[:2]) for number, entry in enumerate(entries[1:])]
        self.notes = [note for _, _, note in entries[1:]]
        for piece in self._folder.glob("block-*"):
            if int(piece.stem.removeprefix("block-")) >= len(self.notes):
                piece.unlink()
        _write_journal(self._journal, entries)

    def add(self, frame, note):
        """Add a block: its rows, sorted by KEY, and a note of it, a dict for JSON; `notes` has those of all blocks."""
        entry = [frame.height, {name: str(dtype) for name, dtype in frame.schema.items()}, note]
        block = _Block(self._folder, len(self._blocks), *entry[:2])
        block.write(frame)
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(json.dumps(entry) + "\n")
        self._blocks.append(block)
        self.notes.append(note)

    def column(self, name, row_counts):
        """Yield pieces of a column, Series: of each block the first row_counts[block] values."""
        for block, row_count in zip(self._blocks, row_counts):
            if row_count:
                yield block.read(name, 0, row_count)

    def buckets(self, bits):
        """Yield the rows of 2^bits ranges of keys, each sorted by key, in the order of the keys; no empty ones."""
        bounds = [block.bounds(bits) for block in self._blocks]
        for bucket in range(2**bits):
            parts = [
                (block, starts[bucket], starts[bucket + 1])
                for block, starts in zip(self._blocks, bounds)
                if starts[bucket] < starts[bucket + 1]
            ]
            if parts:
                yield _read_rows(parts).sort(KEY)


def _read_rows(parts):
    """Return the rows of some (block, start, end) as one frame."""
    names = list(parts[0][0].kinds)
    kinds = {name: {block.kinds[name] for block, _, _ in parts} for name in names}
    arrays = {}
    for name in names:
        if len(kinds[name]) == 1 and TEXT not in kinds[name]:
            arrays[name] = np.empty(sum(end - start for _, start, end in parts), _dtype_of(*kinds[name]))
    place = 0
    for block, start, end in parts:
        block.read_into({name: array[place : place + end - start] for name, array in arrays.items()}, start)
        place += end - start
    columns = [
        pl.Series(name, arrays[name]) if name in arrays else concat([block.read(name, *part) for block, *part in parts])
        for name in names
    ]
    return pl.DataFrame(columns)


class _Block:
    """One block's rows: numbers as raw bytes, column after column, and text beside them as Arrow."""

    def __init__(self, folder, number, row_count, kinds):
        """kinds: the polars type of each column by its name, as text."""
        self._numbers_path = folder / f"block-{number:06d}.bin"
        self._texts_path = folder / f"block-{number:06d}.arrow"
        self._row_count, self.kinds = row_count, kinds
        numbers = {name: _dtype_of(kind) for name, kind in kinds.items() if kind != TEXT}
        sizes = [dtype.itemsize * row_count for dtype in numbers.values()]
        self._offsets = dict(zip(numbers, itertools.accumulate(sizes, initial=0)))

    def write(self, frame):
        with open(self._numbers_path, "wb") as file:
            for name in self._offsets:
                file.write(frame[name].to_numpy())
        texts = [name for name, kind in self.kinds.items() if kind == TEXT]
        if texts:
            with open(self._texts_path, "wb") as file:  # polars expands ~ and * in a path
                frame.select(texts).write_ipc(file)

    def read(self, name, start, end):
        """Return a column, a Series, of the rows from `start` to `end`."""
        if self.kinds[name] == TEXT:
            with open(self._texts_path, "rb") as file:
                return pl.read_ipc(file, columns=[name])[name][start:end]
        array = np.empty(end - start, _dtype_of(self.kinds[name]))
        self.read_into({name: array}, start)
        return pl.Series(name, array)

    def read_into(self, arrays, start):
        """Fill arrays with columns of numbers, by name, of the rows from `start` on."""
        file = os.open(self._numbers_path, os.O_RDONLY)
        try:
            for name, array in arrays.items():
                size = os.preadv(file, [array], self._offsets[name] + start * array.itemsize)
                if size != array.nbytes:
                    raise OSError(f"{self._numbers_path} is cut off; delete its folder")
        finally:
            os.close(file)

    def bounds(self, bits):
        """Return where each of 2^bits ranges of keys begins among the rows, and the number of rows."""
        keys = self.read(KEY, 0, self._row_count).to_numpy()
        ranges = keys >> np.uint64(KEY_BITS - bits) if bits else np.zeros(self._row_count, np.uint64)
        return np.searchsorted(ranges, np.arange(2**bits + 1, dtype=np.uint64)).tolist()


def _dtype_of(kind):
    return np.dtype(kind.lower())


def _read_journal(path):
    """Return the whole lines of a journal, parsed; none if there is no journal."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # a line that a kill cut off has no end
    return [json.loads(line) for line in lines]


def _write_journal(path, entries):
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    beside.replace(path)
