# SPDX-License-Identifier: Apache-2.0
import json
import math

import numpy as np
import polars as pl
import pytest

from src.click_model import CATEGORY_COLUMNS, CLICK_RATE, INTEGER_COLUMNS, ClickModel
from src.common.errors import UserError
from src.criteo_like import best_metrics_path, main, write_rows
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import LABEL, FieldSchema
from tests import oracles
from tests.raw_data import parse_file


def test_the_same_seed_gives_the_same_bytes_for_any_chunk_size(tmp_path):
    write_rows(tmp_path / "a.txt", 3000, seed=4)
    write_rows(tmp_path / "b.txt", 3000, seed=4, chunk_rows=701)
    write_rows(tmp_path / "c.txt", 3000, seed=5)
    first = (tmp_path / "a.txt").read_bytes()
    assert first == (tmp_path / "b.txt").read_bytes()
    assert first != (tmp_path / "c.txt").read_bytes()


def test_a_longer_file_begins_with_the_shorter_one(tmp_path):
    write_rows(tmp_path / "short.txt", 500, seed=1)
    write_rows(tmp_path / "long.txt", 900, seed=1)
    assert (tmp_path / "long.txt").read_bytes().startswith((tmp_path / "short.txt").read_bytes())


def test_rows_are_well_formed_and_look_like_criteos(tmp_path):
    write_rows(tmp_path / "train.txt", 20_000, seed=2)
    (frame,), bad_lines, _ = parse_file(tmp_path / "train.txt", FieldSchema.criteo(13, 26), 1 << 24)
    assert bad_lines.count == 0
    assert frame.height == 20_000
    assert frame[LABEL].mean() == pytest.approx(CLICK_RATE, abs=0.013)  # four standard deviations
    for number, column in enumerate(INTEGER_COLUMNS, 1):
        missing, values = split_missing(frame[f"I{number}"])
        assert missing == pytest.approx(column.missing_rate, abs=0.015)
        assert column.smallest <= values.min() <= values.max() <= column.largest
    for number, column in enumerate(CATEGORY_COLUMNS, 1):
        missing, values = split_missing(frame[f"C{number}"])
        assert missing == pytest.approx(column.missing_rate, abs=0.015)
        assert values.n_unique() <= column.cardinality
        assert values.dtype == pl.UInt32  # 8 hexadecimal digits each
    assert frame["C3"].n_unique() > 5000  # a long tail
    assert frame["C3"].value_counts()["count"].max() > 200  # and a heavy head


def split_missing(column):
    """Return the fraction of missing values, and the others."""
    missing = column == MISSING[column.dtype]
    return missing.mean(), column.filter(~missing)


def test_the_best_metrics_are_those_of_the_true_probabilities(tmp_path):
    path = tmp_path / "train.txt"
    write_rows(path, 600, seed=6)
    labels = pl.read_csv(path, separator="\t", has_header=False)[:, 0].to_numpy()
    _, probabilities = ClickModel(6).sample(np.arange(600, dtype=np.uint64))
    best = json.loads(best_metrics_path(path).read_text())
    assert best["clicks"] == labels.sum()
    assert best["auc"] == pytest.approx(oracles.auc(labels, probabilities.astype(np.float32)), abs=1e-9)
    expected = -np.mean([math.log(p) if label else math.log(1 - p) for label, p in zip(labels, probabilities)])
    assert best["log_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("flags", [["--rows=0"], ["--seed=-1"]])
def test_impossible_numbers_are_refused(tmp_path, flags):
    with pytest.raises(UserError, match="rows is at least 1"):
        main([*flags, f"--out={tmp_path / 'train.txt'}"])
