# SPDX-License-Identifier: Apache-2.0
"""Parsed rows on disk, column by column and sorted by key, with a journal that lets a killed run go on."""

import json
import pathlib
import shutil

import numpy as np
import polars as pl

from src.features import KEY
from src.raw_columns import concat

JOURNAL_NAME = "journal.jsonl"
KEY_BITS = 64


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
                yield block.read([name], 0, row_count)[0]

    def buckets(self, bits):
        """Yield the rows of 2^bits ranges of keys, each sorted by key, in the order of the keys; no empty ones."""
        bounds = [block.bounds(bits) for block in self._blocks]
        for bucket in range(2**bits):
            parts = [
                block.read(block.columns, starts[bucket], starts[bucket + 1])
                for block, starts in zip(self._blocks, bounds)
                if starts[bucket] < starts[bucket + 1]
            ]
            if parts:
                yield pl.DataFrame(map(concat, zip(*parts))).sort(KEY)


class _Block:
    """One block's rows: numbers as raw bytes, column after column, and text beside them as Arrow."""

    def __init__(self, folder, number, row_count, kinds):
        """kinds: the polars type of each column by its name."""
        self._numbers_path = folder / f"block-{number:06d}.bin"
        self._texts_path = folder / f"block-{number:06d}.arrow"
        self._row_count = row_count
        self.columns = list(kinds)
        self._texts = [name for name, kind in kinds.items() if kind == "String"]
        self._dtypes = {name: np.dtype(kind.lower()) for name, kind in kinds.items() if kind != "String"}
        sizes = [dtype.itemsize * row_count for dtype in self._dtypes.values()]
        self._offsets = dict(zip(self._dtypes, np.cumsum([0, *sizes]).tolist()))

    def write(self, frame):
        with open(self._numbers_path, "wb") as file:
            for name in self._dtypes:
                file.write(frame[name].to_numpy())
        if self._texts:
            frame.select(self._texts).write_ipc(self._texts_path)

    def read(self, names, start, end):
        """Return columns, Series, of rows from `start` to `end`."""
        texts = [name for name in names if name in self._texts]
        columns = {}
        if texts:
            columns = pl.read_ipc(self._texts_path, columns=texts)[start:end].to_dict()
        with open(self._numbers_path, "rb") as file:
            for name in names:
                if name not in columns:
                    file.seek(self._offsets[name] + start * self._dtypes[name].itemsize)
                    columns[name] = pl.Series(name, np.fromfile(file, self._dtypes[name], end - start))
        return [columns[name] for name in names]

    def bounds(self, bits):
        """Return where each of 2^bits ranges of keys begins among the rows, and the number of rows."""
        (keys,) = self.read([KEY], 0, self._row_count)
        ranges = keys.to_numpy() >> np.uint64(KEY_BITS - bits) if bits else np.zeros(self._row_count, np.uint64)
        return np.searchsorted(ranges, np.arange(2**bits + 1, dtype=np.uint64)).tolist()


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
