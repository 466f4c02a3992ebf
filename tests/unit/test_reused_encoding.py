# SPDX-License-Identifier: Apache-2.0
"""Rows that --vocabulary_path encodes as earlier ones."""

import json
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest

import eval as evaluation
from src.common.errors import UserError
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import data_digests
from tests.records import read_rows
from tests.training import run_train

# The new rows have other frequencies, and values that the old ones lack.
NEW = make_rows(900, 3, 4, seed=77).replace("\tb", "\tnew").replace("\trare3\t", "\t\t")
SETTINGS = ("--dense_dim=3", "--slot_dim=4", "--line_per_sample=50", "--train_line_count=0")
ALL_TEST = ("--test_ratio=1", "--valid_ratio=0")
MOST_DISTINCT_IDS = 100  # by which drift is judged


@pytest.fixture(scope="module")
def encode(tmp_path_factory):
    """Return a function (old folder, flags, content) -> the MindRecord folder of rows, NEW by default."""

    def build(old, *flags, content=NEW, settings=SETTINGS):
        folder = tmp_path_factory.mktemp("new")
        (folder / "train.txt").write_text(content)
        main([f"--data_path={folder}", f"--vocabulary_path={old}", *settings, *flags])
        return folder / "mindrecord"

    return build


def encoder_of(content, encoding):
    """Return the oracle's encoder of the training rows of a content."""
    good, _ = oracles.parse_file(content.encode(), 3, 4)
    return oracles.Encoder(oracles.split_rows(good, 2020, 0.1, 0.1)["train"], 3, encoding, threshold=3)


@pytest.mark.parametrize("encoding", ["log+bin", "max", "bucket"])
@pytest.mark.parametrize("flags", [(), ALL_TEST, ("--workers=1",)])
def test_new_rows_get_the_ids_and_values_of_the_old_vocabulary_and_scales(make_dataset, encode, encoding, flags):
    if "--workers=1" in flags and encoding != "log+bin":
        pytest.skip("workers take some seconds")
    old = make_dataset(f"--dense_encoding={encoding}")
    folder = encode(old, *flags)
    oracle = encoder_of(make_rows(1203, 3, 4, seed=5), encoding)
    good, _ = oracles.parse_file(NEW.encode(), 3, 4)
    splits = oracles.split_rows(good, 2020, *((0, 1) if flags == ALL_TEST else (0.1, 0.1)))
    for split, rows in splits.items():
        assert DatasetMeta.load(folder).splits[split].rows == len(rows)
        if rows:
            sparse_ids, dense_values, labels = read_rows(folder, split)
            assert labels.tolist() == [row["label"] for row in rows]
            assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
            expected = np.array([oracle.dense_values(row) for row in rows]).reshape(dense_values.shape)
            np.testing.assert_allclose(dense_values, expected, rtol=2e-6, atol=2e-6)
    assert (folder / "vocabulary.tsv").read_bytes() == (old / "vocabulary.tsv").read_bytes()
    digests = {DataIdentity.of_dataset(DatasetMeta.load(each)).digest() for each in (old, folder)}
    assert len(digests) == 1


def values_of(rows, field):
    """Return the values of a sparse field of rows, those of integers as bins."""
    if field < 3:
        return [oracles.bin_of(row["integers"][field]) for row in rows]
    return [row["categories"][field - 3] for row in rows]


def expected_report(vocabulary, name, field, train, test):
    """Return the statistics of a field by dictionaries.  train: rows, or none for the counts of the vocabulary."""
    ids = [(value, int(count)) for own, value, _, count in vocabulary if own == name]
    kept = [value for value, _ in ids[1:]]  # in the order of their ids
    train_counts = Counter(values_of(train, field)) if train else dict(ids[1:])
    total = len(train) if train else sum(count for _, count in ids)
    test_counts = Counter(values_of(test, field))
    rates = [(train_counts.get(value, 0) / total, test_counts[value] / len(test)) for value in kept]
    oov = [1 - sum(column) for column in zip(*rates)]
    frequent = sum(abs(a - b) for a, b in rates[:MOST_DISTINCT_IDS])
    rest = abs(sum(a - b for a, b in rates[MOST_DISTINCT_IDS:]) + oov[0] - oov[1])
    return {"kept": len(kept), "oov_rate_train": oov[0], "oov_rate_test": oov[1], "drift": (frequent + rest) / 2}


@pytest.mark.parametrize("flags", [(), ALL_TEST])
def test_the_report_is_on_the_new_rows(make_dataset, encode, flags):
    old = make_dataset()
    folder = encode(old, *flags)
    good, _ = oracles.parse_file(NEW.encode(), 3, 4)
    splits = oracles.split_rows(good, 2020, *((0, 1) if flags else (0.1, 0.1)))
    table = [line.split("\t") for line in (old / "vocabulary.tsv").read_text().splitlines()[1:]]
    known = {field["name"]: field for field in DatasetMeta.load(old).fields}
    names = ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    for field, (name, report) in enumerate(zip(names, DatasetMeta.load(folder).fields)):
        expected = expected_report(table, name, field, splits["train"], splits["test"])
        assert {key: report[key] for key in expected} == pytest.approx(expected, abs=1e-12)
        if splits["train"]:
            cells = [(row["integers"] + row["categories"])[field] for row in splits["train"]]
            missing = [cell in (None, "") for cell in cells]
            assert report["distinct"] == len(set(cells)) - any(missing)
            assert report["missing_rate"] == pytest.approx(sum(missing) / len(cells))
        else:  # those of the rows that the vocabulary was made of
            assert (report["distinct"], report["missing_rate"]) == (
                known[name]["distinct"],
                known[name]["missing_rate"],
            )
    assert DatasetMeta.load(folder).fields[5]["oov_rate_test"] > 0


@pytest.mark.slow
def test_a_checkpoint_of_the_old_rows_evaluates_the_new_ones(dataset, encode, tmp_path, cpu, capsys):
    run_train(tmp_path, f"--dataset_path={dataset}", "--ckpt_path=checkpoint", "--batch_size=50", "--train_epochs=1",
              "--embedding_size=2", "--hidden_sizes=[4]", "--report_path=none")  # fmt: skip
    for flags, rows in ((ALL_TEST, 900), (("--split=time",), 90)):
        folder = encode(dataset, *flags)
        capsys.readouterr()
        evaluation.main([f"--dataset_path={folder}", f"--checkpoint_path={tmp_path / 'checkpoint'}", "--batch_size=50",
                         f"--eval_file_name={tmp_path / 'auc.log'}", "--by_field=C1",
                         f"--report_path={tmp_path / 'report.html'}"])  # fmt: skip
        assert re.search(rf"^test +{rows} rows, ", capsys.readouterr().out, re.M)
    with pytest.raises(UserError, match="the train split has no rows; preprocess with --valid_ratio and --test_ratio"):
        run_train(tmp_path, f"--dataset_path={encode(dataset, *ALL_TEST)}", "--ckpt_path=other", "--batch_size=50")


def test_the_settings_of_the_encoding_are_those_of_the_folder_and_are_named(make_dataset, encode, capsys):
    old = make_dataset("--dense_encoding=log", "--max_vocab_size=5")
    capsys.readouterr()
    folder = encode(old, "--dense_encoding=max", "--threshold=77")
    note = f"note: rows are encoded as those of {old}, with --dense_encoding=log --threshold=3 --max_vocab_size=5\n"
    assert note in capsys.readouterr().out
    meta = DatasetMeta.load(folder)
    assert [meta.settings[key] for key in ("dense_encoding", "threshold", "max_vocab_size")] == ["log", 3, 5]
    assert meta.settings["vocabulary"] == DataIdentity.of_dataset(DatasetMeta.load(old)).digest()
    # Hence other flags give the same result.
    assert data_digests(encode(old)) == data_digests(folder)


def test_the_rows_of_a_folder_encoded_by_its_own_vocabulary_are_the_same(make_dataset, encode):
    old = make_dataset()
    folder = encode(old, content=make_rows(1203, 3, 4, seed=5))
    first, again = (data_digests(each) for each in (old, folder))
    assert {name for name in first if first[name] != again[name]} == {"dataset_meta.json"}
    assert DatasetMeta.load(folder).fields == DatasetMeta.load(old).fields


def test_a_sample_of_new_rows_has_the_old_vocabulary(dataset, encode):
    folder = encode(dataset, "--negative_keep_rate=0.3")
    meta = DatasetMeta.load(folder)
    assert meta.settings["negative_keep_rate"] == 0.3
    assert 0 < meta.left_out == 900 - sum(split.rows for split in meta.splits.values())
    assert (folder / "vocabulary.tsv").read_bytes() == (dataset / "vocabulary.tsv").read_bytes()


def id_rows(count, largest):
    return "\n".join(f"{row % 2}\t{row % 9}\t\t1\t{row % (largest + 1)}\t0\t1\t2" for row in range(count))


@pytest.mark.parametrize("encoding", ["log+bin", "log"])
def test_ids_keep_their_range_and_larger_ones_are_malformed(make_dataset, encode, encoding):
    old = make_dataset("--skip_id_convert=1", f"--dense_encoding={encoding}", content=id_rows(300, 20))
    content = id_rows(300, 10) + "\n1\t\t\t\t20\t0\t1\t2\n1\t\t\t\t21\t0\t1\t2"
    folder = encode(old, "--skip_id_convert=1", "--max_bad_line_ratio=0.1", content=content)
    old_meta, meta = DatasetMeta.load(old), DatasetMeta.load(folder)
    assert meta.vocabulary_size == old_meta.vocabulary_size
    assert DataIdentity.of_dataset(meta).digest() == DataIdentity.of_dataset(old_meta).digest()
    assert (meta.bad_lines, meta.first_bad_lines) == ({"id": 1}, ((302, "id"),))
    if encoding == "log+bin":
        ids = {int(value): id_ for field, value, id_, _ in pl.read_csv(old / "vocabulary.tsv", separator="\t").filter(
            pl.col("field") == "I1", pl.col("value") != "<OOV>").drop_nulls().iter_rows()}  # fmt: skip
        sparse_ids, _, labels = read_rows(folder, "train")
        rows = {(value % 9, value % 11): value for value in range(300)}
        assert len(labels) > 200
        for first, last in sparse_ids[:, [0, 3]].tolist():
            if last < 20:
                bucket = {id_: value for value, id_ in ids.items()}[first]
                assert bucket in {int(oracles.bin_of(pair[0])) for pair in rows if pair[1] == last}
    with pytest.raises(UserError, match=r"was made with --skip_id_convert=True; use the same$"):
        encode(old, content=content)


SCHEMA = {"label": "click", "integers": ["age"], "floats": ["price"], "categories": ["site"],
          "multi_valued": {"tags": " "}, "header": True}  # fmt: skip
LOG = "click,age,price,site,tags\n" + "".join(
    f"{row % 2},{row % 7},{row / 8},s{row % 3},t{row % 2} t{row % 5}\n" for row in range(300)
)


@pytest.fixture(scope="module")
def log_folder(tmp_path_factory):
    """The MindRecord folder of a log of all kinds of columns."""
    return preprocess_log(tmp_path_factory.mktemp("log"), SCHEMA)


def preprocess_log(folder, schema, *flags):
    (folder / "schema.yaml").write_text(json.dumps(schema))
    (folder / "log.csv").write_text(LOG)
    main([f"--data_path={folder / 'log.csv'}", f"--schema_path={folder / 'schema.yaml'}", "--line_per_sample=10",
          "--train_line_count=0", "--threshold=0", *flags])  # fmt: skip
    return folder / "mindrecord"


def test_floats_and_multi_valued_categories_keep_their_buckets_and_widths(log_folder, tmp_path):
    folder = preprocess_log(tmp_path, SCHEMA, f"--vocabulary_path={log_folder}", *ALL_TEST)
    old, new = DatasetMeta.load(log_folder), DatasetMeta.load(folder)
    assert (old.bucket_edges, old.list_lengths) == (new.bucket_edges, new.list_lengths)
    assert old.bucket_edges["price"] and old.list_lengths == {"tags": 2}
    # All rows, in the order of their keys: those of each split, in that of the splits.
    expected = [np.concatenate(columns) for columns in zip(*(read_rows(log_folder, split) for split in old.splits))]
    for found, column in zip(read_rows(folder, "test"), expected):
        assert found.tolist() == column.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"integers": []}, "has the sparse fields age, price, site, tags, and these rows have price, site, tags; name"),
        ({"integers": ["price"], "floats": ["age"]}, "and these rows have price, age, site, tags; name the same"),
        (
            {"integers": ["age", "price"], "floats": []},
            "of its columns price are floats, and of those of .* none; name",
        ),
        (
            {"categories": ["site", "tags"], "multi_valued": {}},
            "of its columns tags are multi-valued, and .* none; name",
        ),
    ],
)
def test_other_columns_are_refused_in_a_line_before_the_rows_are_read(log_folder, tmp_path, capsys, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        preprocess_log(tmp_path, {**SCHEMA, **changes}, f"--vocabulary_path={log_folder}")
    assert str(caught.value).startswith(f"--vocabulary_path={log_folder}")
    assert "\n" not in str(caught.value)
    assert "read:" not in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "schema.yaml"]


def test_a_folder_that_is_none_is_named_with_its_flag(dataset, encode, tmp_path):
    with pytest.raises(UserError, match=r"holds no dataset_meta.json; --vocabulary_path names a folder that src/"):
        encode(tmp_path)
    with pytest.raises(UserError, match=rf"did you mean --vocabulary_path={dataset}\?$"):
        encode(dataset.parent)


def test_a_damaged_vocabulary_is_refused(make_dataset, encode):
    old = make_dataset()
    path = old / "vocabulary.tsv"
    path.write_text(path.read_text().replace("rare1\t", "rare9999\t"))
    with pytest.raises(UserError, match=r"vocabulary\.tsv is damaged: its SHA-256 is another one; copy it again"):
        encode(old)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--valid_ratio=0.5", "--test_ratio=0.6"),
            "--valid_ratio=0.5 and --test_ratio=0.6 must be at most 1 together",
        ),
        (("--valid_ratio=0", "--test_ratio=1", "--vocabulary_path=none"), "must leave rows to train on"),
    ],
)
def test_ratios_of_more_than_all_rows_are_refused(dataset, encode, flags, message):
    with pytest.raises(UserError, match=message):
        encode(dataset, *flags)


def test_all_rows_may_be_validation_and_test_rows(dataset, encode):
    for flags in (("--valid_ratio=0.5", "--test_ratio=0.5"), ("--valid_ratio=0.1", "--test_ratio=0.9")):
        splits = DatasetMeta.load(encode(dataset, *flags)).splits
        assert splits["train"].rows == 0
        assert splits["valid"].rows + splits["test"].rows == 900
