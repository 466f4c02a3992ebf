# SPDX-License-Identifier: Apache-2.0
import gzip
import itertools
import json
import re

import numpy as np
import polars as pl
import pytest

from src.common.errors import UserError
from src.preprocess_data import main
from src.preprocessing import reading
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import Position
from src.preprocessing.reading import ChunkStats, RowSummary, read_rows
from src.preprocessing.schema import KEY, FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import LARGE_FLAGS, data_digests


def test_a_read_error_keeps_the_rows_read_so_far_and_the_next_run_resumes(tmp_path, large, monkeypatch, capsys):
    content, expected = large
    (tmp_path / "train.txt").write_bytes(content)
    flags = [f"--data_path={tmp_path}", "--memory_limit=0.002", *LARGE_FLAGS]
    read_all = reading.read_source

    def read_some(*arguments, **options):
        chunks = read_all(*arguments, **options)
        yield from itertools.islice(chunks, 3)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reading, "read_source", read_some)
    with pytest.raises(OSError, match=r"Input/output error.*run the same command again to resume"):
        main(flags)
    assert not (tmp_path / "mindrecord").exists()
    monkeypatch.undo()
    main(flags)
    out = capsys.readouterr().out
    assert re.search(r"^read: 20,001 rows in .*, some of it by an earlier run$", out, re.M)
    assert re.search(r'malformed lines were left out: line \d+: I1 is "x-?\d*"; ', out)
    assert data_digests(tmp_path / "mindrecord") == expected


def test_an_unusable_file_is_not_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("0,1,2,3,a,b,c,d\n" * 200_000)
    chunks = 0
    read_all = reading.read_source

    def count_chunks(*arguments, **options):
        nonlocal chunks
        for chunk in read_all(*arguments, **options):
            chunks += 1
            yield chunk

    monkeypatch.setattr(reading, "read_source", count_chunks)
    with pytest.raises(UserError, match=r"comma-separated .* of the first [0-9]+ lines"):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", "--memory_limit=0.0001"])
    assert chunks < 15  # of 49 chunks: 4 % of the file, and what is read ahead


@pytest.mark.parametrize(("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress)])
def test_progress_estimates_the_lines_of_the_file(tmp_path, monkeypatch, capsys, name, pack):
    monkeypatch.setattr("src.common.progress.SECONDS_BETWEEN_LINES", -1)
    content = make_rows(12_000, 3, 4, seed=8).encode()
    (tmp_path / name).write_bytes(pack(content))
    main([f"--data_path={tmp_path}", "--memory_limit=0.0001", *LARGE_FLAGS])
    out = capsys.readouterr().out
    estimated = int(re.search(r"^about ([\d,]+) rows", out)[1].replace(",", ""))
    totals = [int(total.replace(",", "")) for total in re.findall(r"^read: .* of about ([\d,]+) rows", out, re.M)]
    assert len(totals) >= 3
    # Of a packed file a chunk of 64 KiB is a tenth, and it is read a buffer ahead.
    assert all(total == pytest.approx(12_000, rel=0.05 if name == "train.txt" else 0.5) for total in totals)
    assert totals[-1] == pytest.approx(12_000, rel=0.2)
    assert estimated == pytest.approx(12_000, rel=0.05)


def test_an_error_before_anything_was_kept_leaves_nothing(tmp_path, large, monkeypatch):
    (tmp_path / "train.txt").write_bytes(large[0])

    def read_nothing(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reading, "read_source", read_nothing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        main([f"--data_path={tmp_path}", *LARGE_FLAGS])
    assert "kept" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_statistics_survive_the_journal():
    bad_lines = BadLines.from_lines(np.array([3]), np.array([2]), [b"2\t1\ta"].__getitem__, FieldSchema.criteo(1, 1))
    labels = {"train": [1, 2], "valid": [0, 1], "test": [0, 0]}
    stats = ChunkStats(5, Position(1, 100, 3, 2), 0.25, bad_lines, labels, largest_id=-1)
    assert ChunkStats.from_dict(json.loads(json.dumps(stats.to_dict()))) == stats


def test_a_summary_adds_up_its_chunks():
    summary = RowSummary()
    for train, largest_id in (([3, 4], 7), ([10, 0], 5)):
        labels = {"train": train, "valid": [1, 0], "test": [0, 0]}
        summary.add(ChunkStats(20, Position(0, 300, 20, 0), 0.5, BadLines(), labels, largest_id))
    assert (summary.lines, summary.end, summary.good_lines, summary.largest_id) == (40, Position(0, 300, 20, 0), 40, 7)
    assert [summary.count(split) for split in ("train", "valid", "test")] == [17, 2, 0]
    assert summary.split_labels["train"] == {0: 13, 1: 4}
    assert summary.train_rows == [7, 10]


@pytest.mark.parametrize("categories_are_ids", [False, True])
def test_the_rows_in_the_spill_and_their_summary_agree_with_the_reference(tmp_path, categories_are_ids):
    lines = [f"{row % 3 and 1}\t{row}\t{row % 50}\t{row % 7}" for row in range(3000)] + ["1\t2", "3\t1\t1\t1"]
    path = tmp_path / "train.txt"
    path.write_text("\n".join(lines))
    schema, splits = FieldSchema.criteo(1, 2, categories_are_ids), KeySplits.from_ratios(5, 0.2, 0.1)
    spill = Spill(tmp_path / "spill", {})
    rows = read_rows(Source((path,)), schema, splits, spill, chunk_bytes=4000, max_bad_line_ratio=0.01)
    good, bad = oracles.parse_file(path.read_bytes(), 1, 2, categories_are_ids)
    expected = oracles.split_rows(good, 5, 0.2, 0.1)
    assert (rows.lines, rows.good_lines) == (3002, 3000)
    assert [line[:2] for line in rows.bad_lines.first] == bad == [(3001, "columns"), (3002, "label")]
    assert rows.largest_id == (49 if categories_are_ids else -1)
    assert len(rows.train_rows) > 5
    assert {split: rows.count(split) for split in expected} == {split: len(own) for split, own in expected.items()}
    spilled = pl.concat(spill.buckets(bits=2))
    assert spilled[KEY].to_list() == sorted(oracles.splitmix64(5, number) for number, _ in good)
    in_order = [row["integers"][0] for own in (expected["train"], expected["valid"], expected["test"]) for row in own]
    assert spilled["I1"].to_list() == in_order
    # The first rows of each chunk are those of the training set.
    train = pl.concat(spill.column("I1", rows.train_rows)).to_list()
    assert sorted(train) == sorted(row["integers"][0] for row in expected["train"])
