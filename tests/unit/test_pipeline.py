# SPDX-License-Identifier: Apache-2.0
import gzip
import random

import numpy as np
import pytest

from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from src.preprocessing.vocabulary import Vocabulary
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import LARGE_FLAGS, archive_of, data_digests, digests
from tests.records import read_rows


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--dense_encoding=bucket",),
        ("--dense_encoding=bin",),
        ("--dense_encoding=max", "--valid_ratio=0"),
        ("--line_per_sample=7", "--dense_encoding=log"),
    ],
)
def test_every_row_arrives_encoded_in_its_split_and_order(make_dataset, flags):
    content = make_rows(1203, 3, 4, seed=5, ending="\r\n") + "\r\nbad line\r\n1\t\t\t\tlast\tline\tno\tnewline"
    folder = make_dataset(*flags, content=content)
    settings = dict(flag.lstrip("-").split("=") for flag in flags)
    encoding, valid_ratio = settings.get("dense_encoding", "log+bin"), float(settings.get("valid_ratio", 0.1))
    good, bad = oracles.parse_file(content.encode(), 3, 4)
    splits = oracles.split_rows(good, 2020, valid_ratio, 0.1)
    oracle = oracles.Encoder(splits["train"], 3, encoding, threshold=3)
    meta = DatasetMeta.load(folder)
    assert meta.bad_lines == {"columns": 1}
    assert [tuple(line) for line in meta.first_bad_lines] == bad == [(1204, "columns")]
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


@pytest.mark.parametrize(
    ("name", "pack", "memory_limit"),
    [
        ("train.txt", bytes, "0.0001"),
        ("train.txt", bytes, "64"),
        ("train.txt.gz", gzip.compress, "0.002"),
        ("dac.tar.gz", archive_of, "0.002"),
    ],
)
def test_the_same_bytes_for_any_packing_and_memory(tmp_path, large, name, pack, memory_limit):
    content, expected = large
    (tmp_path / name).write_bytes(pack(content))
    main([f"--data_path={tmp_path}", f"--memory_limit={memory_limit}", *LARGE_FLAGS])
    assert data_digests(tmp_path / "mindrecord") == expected


def test_categories_that_are_ids_stay_as_they_are(make_dataset):
    lines = [f"{row % 2}\t{row}\t\t1\t{row % 5}\t7\t{row % 3}\t1000" for row in range(300)]
    folder = make_dataset("--skip_id_convert=1", "--dense_encoding=log+bin", content="\n".join(lines))
    meta = DatasetMeta.load(folder)
    sparse_ids, _, _ = read_rows(folder, "train")
    assert list(meta.sparse_fields) == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    assert set(sparse_ids[:, 3]) == set(range(5))
    assert set(sparse_ids[:, 6]) == {1000}
    assert sparse_ids[:, :3].min() >= 1001  # the ids of the buckets come after those of the categories
    assert meta.vocabulary_size == sparse_ids.max() + 1


def test_a_different_line_count_is_reported(make_dataset, capsys):
    make_dataset("--train_line_count=45840617")
    note = "note: --train_line_count expects 45,840,617 lines, by default those of all of Criteo; for other data"
    assert note in capsys.readouterr().out.replace("\n", " ")


def test_max_vocab_size_keeps_the_most_frequent_values(make_dataset):
    full = Vocabulary.load(make_dataset() / "vocabulary.tsv").table
    small = Vocabulary.load(make_dataset("--max_vocab_size=2") / "vocabulary.tsv").table
    for field in full["field"].unique():
        assert small.filter(field=field)["value"].to_list() == full.filter(field=field)["value"].to_list()[:3]
        assert small.filter(field=field)["count"].sum() == full.filter(field=field)["count"].sum()


def as_pandas_writes(content):
    """Return rows with integers as 3.0 or 3.00 and labels as 1.0, True or false."""
    lines = []
    for number, line in enumerate(content.split("\n")):
        label, *cells = line.split("\t")
        integers = [f"{cell}.{'0' * (1 + number % 2)}" if cell else "" for cell in cells[:3]]
        labels = [f"{label}.0", ["False", "True"][int(label)], ["false", "TRUE"][int(label)]]
        lines.append("\t".join([labels[number % 3], *integers, *cells[3:]]))
    return "\n".join(lines)


def test_numbers_as_pandas_writes_them_give_the_same_bytes_as_plain_ones(make_dataset, dataset):
    folder = make_dataset(content=as_pandas_writes(make_rows(1203, 3, 4, seed=5)))
    assert data_digests(folder) == data_digests(dataset)


def test_labels_of_minus_1_give_the_same_rows_and_the_setting_is_recorded(make_dataset, dataset):
    rows = [line.split("\t", 1) for line in make_rows(1203, 3, 4, seed=5).split("\n")]
    signs = {"0": ["-1", "-1.0"], "1": ["1", "+1", "1.0"]}
    lines = [f"{signs[label][number % len(signs[label])]}\t{cells}" for number, (label, cells) in enumerate(rows)]
    folder = make_dataset("--negative_label=-1", content="\n".join(lines))
    expected, got = digests(dataset), digests(folder)
    differing = {name for name in expected if expected[name] != got[name]}
    assert differing == {"dataset_meta.json", "source.json"}
    assert DatasetMeta.load(folder).settings == {**DatasetMeta.load(dataset).settings, "negative_label": -1}
    assert "negative_label" not in (dataset / "dataset_meta.json").read_text() + (dataset / "source.json").read_text()


def test_columns_of_both_widths_and_missing_integers_arrive_as_the_reference_has_them(make_dataset):
    dice = random.Random(3)
    small = ["", "-1", "-5", "-16386", "7", "20000", "2147483647", "-2147483648"]
    large = [*small, "2147483648", "1700000000000", "-9223372036854775807", "9223372036854775807", "9007199254740993.0"]
    lines = []
    for row in range(4000):  # chunks of 64 KiB: the first hold nothing but small ones
        integers = [dice.choice(large if row > 3000 else small) for _ in range(3)]
        lines.append("\t".join([str(row % 2), *integers, "a" * 10, "b", "", "c"]))
    content = "\n".join(lines)
    folder = make_dataset("--memory_limit=0.0001", content=content)
    good, bad = oracles.parse_file(content.encode(), 3, 4)
    assert not bad
    splits = oracles.split_rows(good, 2020, 0.1, 0.1)
    oracle = oracles.Encoder(splits["train"], 3, "log+bin", threshold=3)
    for split, rows in splits.items():
        sparse_ids, dense_values, _ = read_rows(folder, split)
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        np.testing.assert_allclose(dense_values, [oracle.dense_values(row) for row in rows], rtol=2e-6, atol=2e-6)
