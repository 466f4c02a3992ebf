# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import polars as pl
import pytest

from benchmarks import accuracy, unseen_rows
from src.criteo_like import write_rows
from src.preprocess_data import main
from src.preprocessing.schema import LINE_NUMBER
from src.preprocessing.splits import KeySplits
from tests.records import read_rows


def test_others_get_the_rows_of_our_splits_in_our_order(tmp_path):
    path = tmp_path / "train.txt"
    write_rows(path, 3000, seed=3)
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(7, "malformed\n")
    path.write_text("".join(lines))
    rows = accuracy.split_rows(path, split_seed=7)
    flags = ["--dense_encoding=max", "--threshold=0", "--train_line_count=0", *accuracy.split_flags(7)]
    main([f"--data_path={tmp_path}", *flags])
    assert rows.height == 3000
    for split in ("train", "valid", "test"):
        _, dense_values, labels = read_rows(tmp_path / "mindrecord", split)
        theirs = rows.filter(pl.col("split") == split)
        assert theirs["label"].to_list() == labels.tolist()
        largest = np.abs(rows.filter(pl.col("split") == "train")["I5"]).max()
        np.testing.assert_allclose(theirs["I5"].fill_null(0).to_numpy() / largest, dense_values[:, 4], rtol=1e-6)
    texts = {line.split("\t")[14] for line in lines if "\t" in line}
    assert set(rows["C1"].fill_null("")) == texts


def test_the_validation_rows_of_a_choice_are_those_of_its_split(tmp_path):
    path = tmp_path / "train.txt"
    write_rows(path, 3000, seed=3)
    valid = accuracy.split_rows(path, split_seed=7).filter(pl.col("split") == "valid")
    splits = KeySplits.from_ratios(7, accuracy.VALID_RATIO, accuracy.TEST_RATIO)
    rows = accuracy.read_rows(path).drop(LINE_NUMBER)[unseen_rows.valid_lines(splits, 3000)]
    assert rows.drop(rows.columns[0]).equals(valid.drop("label", "split"))


def test_rows_that_no_choice_has_seen_are_in_no_validation_set():
    has_chosen = unseen_rows.has_chosen(3000)
    fixed = KeySplits.from_ratios(accuracy.SPLIT_SEED, 0.1, 0.1)
    assert has_chosen[unseen_rows.valid_lines(fixed, 3000)].all()
    for seed in (1, 2, 3, 4, 5):
        assert has_chosen[unseen_rows.valid_lines(KeySplits.from_ratios(seed, 0.125, 0.0), 2700)].all()
    assert 0.45 < has_chosen.mean() < 0.55  # 1 - (0.9 * (7 / 8) ** 5 * 0.9 + 0.9 * 0.1) = 0.49
    test = np.flatnonzero(~has_chosen)[:300]
    names = unseen_rows.draw_split(3000, test, seed=1)
    assert np.flatnonzero(names == "test").tolist() == test.tolist()
    assert ((names == "valid").sum(), (names == "train").sum()) == (300, 2400)


@pytest.mark.slow
def test_the_predictions_of_a_recipe_are_those_of_eval_for_the_rows_that_others_get(tmp_path):
    path = tmp_path / "rows.txt"
    write_rows(path, 3000, seed=3)
    flags = [*accuracy.BEST_FLAGS, "--train_epochs=1", "--batch_size=128", "--eval_every_steps=0"]
    checkpoints = accuracy.run_deepfm(path, flags, seed=1, folder=tmp_path / "work", split_seed=7)
    found = accuracy.predict_test(tmp_path / "work" / "mindrecord", checkpoints)
    accuracy.run(
        sys.executable, accuracy.ROOT / "eval.py", f"--dataset_path={tmp_path / 'work' / 'mindrecord'}",
        f"--checkpoint_path={checkpoints}", f"--predictions_path={tmp_path / 'predictions.csv'}", "--report_path=none",
        f"--eval_file_name={tmp_path / 'auc.log'}", "--batch_size=128",
    )  # fmt: skip
    expected = pl.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_allclose(found, expected["probability"], rtol=0, atol=1e-6)
    test = accuracy.split_rows(path, split_seed=7).filter(pl.col("split") == "test")
    assert test["label"].to_list() == expected["label"].to_list()


@pytest.mark.slow
def test_the_lead_and_its_standard_error_agree_with_the_bootstrap():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 600)
    signal = labels + random.normal(0, 1.5, 600)
    ours, theirs = ([1 / (1 + np.exp(-signal - random.normal(0, size, 600)))] for size in (0.5, 1.5))
    row = accuracy.table(labels, {accuracy.BEST: ours, "theirs": theirs}).splitlines()[-1].split(" | ")
    leads = []
    for _ in range(2000):
        sample = random.integers(0, 600, 600)
        pair = [accuracy.roc_auc(labels[sample], run[0][sample]) for run in (ours, theirs)]
        losses = [accuracy.log_loss(labels[sample], run[0][sample]) for run in (theirs, ours)]
        leads.append([pair[0] - pair[1], losses[0] - losses[1]])
    expected = zip(np.mean(leads, axis=0), np.std(leads, axis=0))
    for cell, (mean, deviation) in zip(row[3:], expected):
        lead, error = (float(part.strip(" |")) for part in cell.split("±"))
        assert lead == pytest.approx(mean, abs=0.002)
        assert error == pytest.approx(deviation, rel=0.1)
