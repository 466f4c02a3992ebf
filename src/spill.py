# SPDX-License-Identifier: Apache-2.0
"""Parsed rows on disk, in buckets of neighbouring keys, with a journal that lets a killed run go on."""

import json
import pathlib
import shutil

import numpy as np
import polars as pl

from src.features import KEY
from src.hex_codes import to_texts

JOURNAL_NAME = "journal.jsonl"
KEY_BITS = 64


class Spill:
    """The blocks of a raw file that have been parsed.

    folder: where they are.  Blocks of an earlier run with the same `identity` are kept, all else in it is removed.
    identity: what must be equal for that work to be worth anything, a dict for JSON.
    A block counts once its line of the journal is whole: its rows are written before.
    """

    def __init__(self, folder, identity, bucket_bits):
        self._folder, self._bucket_bits = pathlib.Path(folder), bucket_bits
        self._journal = self._folder / JOURNAL_NAME
        header = {**identity, "bucket_bits": bucket_bits}
        entries = _read_journal(self._journal)
        if not entries or entries[0] != header:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            entries = [header]
        self.notes = entries[1:]
        for piece in self._folder.glob("bucket-*/block-*.arrow"):
            if int(piece.stem.removeprefix("block-")) >= len(self.notes):
                piece.unlink()
        _write_journal(self._journal, entries)

    def add(self, frame, note):
        """Add a block: its rows, sorted by KEY, and a note of it, a dict for JSON; `notes` has those of all blocks."""
        buckets = frame[KEY].to_numpy() >> np.uint64(KEY_BITS - self._bucket_bits)
        ends = np.searchsorted(buckets, np.arange(2**self._bucket_bits, dtype=np.uint64), side="right")
        start = 0
        for bucket, end in enumerate(ends.tolist()):
            if end > start:
                folder = self._folder / f"bucket-{bucket:04d}"
                folder.mkdir(exist_ok=True)
                frame[start:end].write_ipc(folder / f"block-{len(self.notes):06d}.arrow")
            start = end
        with open(self._journal, "a", encoding="utf-8") as journal:
            journal.write(json.dumps(note) + "\n")
        self.notes.append(note)

    def buckets(self):
        """Yield the rows of each bucket, sorted by key; the buckets are in the order of the keys."""
        for folder in sorted(self._folder.glob("bucket-*")):
            yield _concat([pl.read_ipc(path) for path in sorted(folder.iterdir())]).sort(KEY)


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


def _concat(frames):
    """Put blocks together; a column that is text in one and codes in another becomes text."""
    for name in frames[0].columns:
        if {frame.schema[name] for frame in frames} == {pl.String, pl.UInt32}:
            frames = [
                frame.with_columns(to_texts(frame[name])) if frame.schema[name] == pl.UInt32 else frame
                for frame in frames
            ]
    return pl.concat(frames, how="vertical_relaxed")
