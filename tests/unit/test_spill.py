# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import KEY
from src.preprocessing.spill import Spill

LARGE = 3_000_000_000


def rows_of(seed, wide=False):
    """Return 50 rows sorted by key: I1 as Int32 or, if wide, Int64, and C1 as codes or text."""
    random = np.random.default_rng(seed)
    keys = np.sort(random.integers(0, 2**64, 50, dtype=np.uint64))
    integers = pl.Series("I1", random.integers(-5, 100, 50), dtype=pl.Int64 if wide else pl.Int32)
    codes = random.integers(0, 2**32 - 1, 50, dtype=np.uint32)
    categories = pl.Series("C1", [f"{code:08x}" for code in codes] if wide else codes)
    if wide:
        integers[0], categories[0] = LARGE, "x"
    integers[1], categories[1] = MISSING[integers.dtype], MISSING[categories.dtype]
    return pl.DataFrame([pl.Series(KEY, keys), integers, categories])


def expected_rows(*chunks):
    """Return (key, integer or None, text) of all rows in the order of the keys."""
    rows = []
    for frame in chunks:
        integers = [None if value == MISSING[frame.schema["I1"]] else value for value in frame["I1"].to_list()]
        texts = frame["C1"].to_list()
        if frame.schema["C1"] == pl.UInt32:
            texts = ["" if code == 2**32 - 1 else f"{code:08x}" for code in texts]
        rows += zip(frame[KEY].to_list(), integers, texts)
    return sorted(rows, key=lambda row: row[0])


def all_rows(spill, bits=2):
    return expected_rows(*spill.buckets(bits))


@pytest.mark.parametrize("bits", [0, 3, 8])
def test_rows_come_back_sorted_by_key(tmp_path, bits):
    spill = Spill(tmp_path / "spill", {"a": 1})
    for number in range(3):
        spill.add(rows_of(number), {"lines": 50})
    buckets = list(spill.buckets(bits))
    assert pl.concat(buckets).rows() == sorted(row for number in range(3) for row in rows_of(number).rows())
    assert all(len({key >> (64 - bits) for key in frame[KEY].to_list()}) == 1 for frame in buckets)


def test_a_column_of_two_types_is_read_in_the_wider_one(tmp_path):
    chunks = [rows_of(1), rows_of(2, wide=True), rows_of(3)]
    spill = Spill(tmp_path / "spill", {})
    for frame in chunks:
        spill.add(frame, {})
    assert all_rows(spill, bits=0) == expected_rows(*chunks)
    assert LARGE in next(iter(spill.buckets(0)))["I1"]
    assert "x" in next(iter(spill.buckets(0)))["C1"]


def test_a_column_is_read_in_chunks_of_the_wanted_length(tmp_path):
    spill = Spill(tmp_path / "spill", {})
    chunks = [rows_of(1), rows_of(2, wide=True), rows_of(3)]
    for frame in chunks:
        spill.add(frame, {})
    for name in ("I1", "C1"):
        chunks_of_column = list(spill.column(name, [50, 7, 0]))
        assert [chunk.to_list() for chunk in chunks_of_column] == [
            chunks[0][name].to_list(),
            chunks[1][name].to_list()[:7],
        ]


def test_the_same_identity_resumes_and_another_starts_anew(tmp_path):
    Spill(tmp_path / "spill", {"a": 1}).add(rows_of(1), {"n": 1})
    again = Spill(tmp_path / "spill", {"a": 1})
    assert again.stats == [{"n": 1}]
    assert all_rows(again) == expected_rows(rows_of(1))
    anew = Spill(tmp_path / "spill", {"a": 2})
    assert (anew.stats, all_rows(anew)) == ([], [])


def test_a_chunk_without_its_line_in_the_journal_is_removed(tmp_path):
    spill = Spill(tmp_path / "spill", {})
    spill.add(rows_of(1), {"n": 1})
    spill.add(rows_of(2, wide=True), {"n": 2})
    journal = tmp_path / "spill" / "journal.jsonl"
    for missing in (1, 5):  # the last line without its end, and hardly begun
        journal.write_bytes(journal.read_bytes()[:-missing])
        again = Spill(tmp_path / "spill", {})
        assert again.stats == [{"n": 1}]
        assert sorted(path.name for path in (tmp_path / "spill").iterdir()) == ["chunk-000000.bin", "journal.jsonl"]
        again.add(rows_of(2, wide=True), {"n": 2})
        assert all_rows(again) == expected_rows(rows_of(1), rows_of(2, wide=True))
