# SPDX-License-Identifier: Apache-2.0
import hashlib

import numpy as np
import pytest

from src import preprocess_data
from src.dataset_meta import DatasetMeta
from src.errors import UserError
from src.preprocess_data import KeySplits, main
from tests import oracles
from tests.conftest import make_rows
from tests.records import read_rows


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--dense_encoding=bucket",),
        ("--dense_encoding=max", "--valid_ratio=0"),
        ("--line_per_sample=7", "--dense_encoding=log"),
    ],
)
def test_every_row_arrives_encoded_in_its_split_and_order(make_dataset, flags):
    content = make_rows(1203, 3, 4, seed=5, ending="\r\n") + "\r\nbad line\r\n1\t\t\t\tlast\tline\tno\tnewline"
    folder = make_dataset(*flags, content=content)
    settings = dict(flag.lstrip("-").split("=") for flag in flags)
    encoding, valid_ratio = settings.get("dense_encoding", "log+bucket"), float(settings.get("valid_ratio", 0.1))
    good, bad = oracles.parse_file(content.encode(), 3, 4)
    splits = oracles.split_rows(good, 2020, valid_ratio, 0.1)
    oracle = oracles.Encoder(splits["train"], 3, encoding, threshold=3)
    meta = DatasetMeta.load(folder)
    assert meta.bad_lines == {"columns": 1}
    assert meta.first_bad_lines == [list(bad[0])] == [[1204, "columns"]]
    assert (meta.lines, meta.vocabulary_size) == (1205, oracle.vocabulary_size)
    for split, rows in splits.items():
        assert (meta.splits[split].rows, meta.splits[split].positives) == (len(rows), sum(row["label"] for row in rows))
        if not rows:
            continue
        sparse_ids, dense_values, labels = read_rows(folder, split)
        assert labels.tolist() == [row["label"] for row in rows]
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        expected = np.array([oracle.dense_values(row) for row in rows]).reshape(dense_values.shape)
        np.testing.assert_allclose(dense_values, expected, rtol=2e-6, atol=2e-6)


def test_splits_by_hand():
    # SplitMix64 from 2020 gives row 0 .. 7 these positions in [0, 1):
    positions = [oracles.splitmix64(2020, row) / 2**64 for row in range(8)]
    splits = KeySplits.of_ratios(2020, valid_ratio=0.25, test_ratio=0.25)
    keys = np.sort(splits.keys(np.arange(8, dtype=np.uint64)))
    cut = splits.cut(keys)
    assert len(keys[cut["train"]]) == sum(position < 0.5 for position in positions)
    assert len(keys[cut["valid"]]) == sum(0.5 <= position < 0.75 for position in positions)
    assert len(keys[cut["test"]]) == sum(position >= 0.75 for position in positions)


def test_splits_by_count():
    splits = KeySplits.of_ratios(2020, valid_ratio=0.1, test_ratio=0.1)
    keys = np.sort(splits.keys(np.arange(1_000_000, dtype=np.uint64)))
    counts = {name: len(keys[part]) for name, part in splits.cut(keys).items()}
    assert sum(counts.values()) == 1_000_000
    assert abs(counts["valid"] - 100_000) < 1200  # four standard deviations of 300
    assert abs(counts["test"] - 100_000) < 1200


def test_a_ratio_of_zero_leaves_the_split_empty():
    splits = KeySplits.of_ratios(1, valid_ratio=0.0, test_ratio=0.0)
    keys = np.sort(splits.keys(np.arange(1000, dtype=np.uint64)))
    assert [len(keys[part]) for part in splits.cut(keys).values()] == [1000, 0, 0]


def test_the_same_bytes_whatever_the_block_and_bucket_sizes(make_dataset, monkeypatch):
    expected = digests(make_dataset())
    monkeypatch.setattr(preprocess_data, "BLOCK_BYTES", 999)
    monkeypatch.setattr(preprocess_data, "BUCKET_BITS", 2)
    got = digests(make_dataset())
    del expected["dataset_meta.json"], got["dataset_meta.json"]  # it names data_path, which differs here
    assert got == expected


def test_many_shards_hold_the_same_rows_as_one(make_dataset, dataset, monkeypatch):
    monkeypatch.setattr("src.record_writer.SHARD_ROWS", 150)
    folder = make_dataset()
    files = DatasetMeta.load(folder).splits["train"].files
    assert [file.records for file in files[:-1]] == [3] * (len(files) - 1)
    assert len(files) == -(-DatasetMeta.load(dataset).splits["train"].records // 3)
    for one, many in zip(read_rows(dataset, "train"), read_rows(folder, "train")):
        assert np.array_equal(one, many)


def test_categories_that_are_ids_stay_as_they_are(make_dataset):
    lines = [f"{row % 2}\t{row}\t\t1\t{row % 5}\t7\t{row % 3}\t1000" for row in range(300)]
    folder = make_dataset("--skip_id_convert=1", "--dense_encoding=log+bucket", content="\n".join(lines))
    meta = DatasetMeta.load(folder)
    sparse_ids, _, _ = read_rows(folder, "train")
    assert meta.sparse_fields == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    assert set(sparse_ids[:, 3]) == set(range(5))
    assert set(sparse_ids[:, 6]) == {1000}
    assert sparse_ids[:, :3].min() >= 1001  # the ids of the buckets come after those of the categories
    assert meta.vocabulary_size == sparse_ids.max() + 1


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", (), "is empty"),
        (
            "1\t2\t3\n" * 50,
            (),
            r"of 50 lines 50 malformed \(50 columns\), first lines: 1 \(columns\), 2 .*--dense_dim=3",
        ),
        ("\n".join(f"1\t\t\t\ta\tb\tc\t{row}" for row in range(500)), (), "both labels must occur"),
        ("1\t\t\t\ta\tb\tc\td\n0\t\t\t\ta\tb\tc\td\n", (), "both labels must occur"),
        ("x\t\t\t\ta\tb\tc\td\n" + "1\t\t\t\ta\tb\tc\td\n" * 9, ("--max_bad_line_ratio=0.05",), "1 malformed"),
        ("1\t\t\t\ta\tb\tc\td\n" * 9, ("--valid_ratio=0.5", "--test_ratio=0.5"), "must leave rows to train on"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_left(tmp_path, content, flags, message):
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", *flags])
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_an_earlier_result_is_replaced_only_on_demand(make_dataset):
    folder = make_dataset()
    flags = [
        f"--data_path={folder.parent}",
        "--dense_dim=3",
        "--slot_dim=4",
        "--line_per_sample=20",
        "--train_line_count=0",
    ]
    before = digests(folder)
    with pytest.raises(UserError, match=r"exists already; --overwrite=True replaces it"):
        main(flags)
    assert digests(folder) == before
    main([*flags, "--overwrite=True"])
    assert DatasetMeta.load(folder).rows_per_record == 20
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mindrecord", "train.txt"]


def test_a_failed_run_leaves_the_earlier_result_alone(make_dataset):
    folder = make_dataset()
    before = digests(folder)
    (folder.parent / "train.txt").write_text("1\t2\n")
    with pytest.raises(UserError):
        main([f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--overwrite=True"])
    assert digests(folder) == before


def test_a_different_line_count_is_reported(make_dataset, capsys):
    make_dataset("--train_line_count=45840617")
    assert "note: --train_line_count=45840617 says that there should be 45,840,617 lines" in capsys.readouterr().out
