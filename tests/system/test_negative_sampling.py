# SPDX-License-Identifier: Apache-2.0
"""A training on a part of the rows without a click predicts the click rate of all rows."""

import json
import math

import numpy as np
import polars as pl
import pytest

import eval as evaluation
from src.evaluation.metrics import log_loss
from src.preprocess_data import main
from src.synthetic_logs.__main__ import write_log
from src.synthetic_logs.kinds import KINDS
from tests import oracles
from tests.training import run_train

pytestmark = pytest.mark.slow
ROWS, SEED, TEST_RATIO = 600_000, 5, 0.4
KIND = "narrow"  # of 3 categories, and a click in a fifth of the rows
# The most frequent values alone: a rare one has fewer rows in a sample, and its effect is learned less exactly.
ENCODING = ("--valid_ratio=0", "--line_per_sample=250", "--threshold=0", "--max_vocab_size=64",
            "--train_line_count=0")  # fmt: skip
# With less L2 a tenth of the rows is overfitted.
# The last checkpoint, of a learning rate of 0, is evaluated: that of an epoch before is some per cent off in the mean.
TRAINING = ("--embedding_size=4", "--hidden_sizes=[16]", "--keep_prob=1.0", "--batch_size=250", "--train_epochs=4",
            "--learning_rate=0.01", "--lr_schedule=one_cycle", "--l2_coef=2e-5", "--do_eval=False",
            "--report_path=none")  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Return the folder of a log, and the true probabilities of its test rows in their order."""
    folder = tmp_path_factory.mktemp("rows")
    write_log(folder, KIND, ROWS, SEED)
    keys = [oracles.splitmix64(2020, line) for line in range(ROWS)]
    tested = sorted((line for line in range(ROWS) if keys[line] / 2**64 >= 1 - TEST_RATIO), key=keys.__getitem__)
    tested = np.array(tested, np.uint64)
    _, probabilities, _ = KINDS[KIND].model(SEED).sample(tested, (tested + 0.5) / ROWS)
    return folder, probabilities.astype(np.float64)


@pytest.fixture(scope="module")
def predictions(rows, tmp_path_factory, cpu):
    """Return a function of a keep rate -> the folder of the data, and the labels and predictions of its test set."""
    log, found = rows[0], {}

    def predict(keep_rate):
        if keep_rate in found:
            return found[keep_rate]
        folder = tmp_path_factory.mktemp("run")
        data = folder / "data"
        own = [f"--data_path={log / KINDS[KIND].file_name}", f"--output_dir={data}", f"--schema_path={log}/schema.yaml"]
        main([*own, *ENCODING, f"--test_ratio={TEST_RATIO}", f"--negative_keep_rate={keep_rate}"])
        run_train(folder, f"--dataset_path={data}", "--ckpt_path=checkpoint", *TRAINING)
        evaluation.main([f"--dataset_path={data}", f"--checkpoint_path={folder / 'checkpoint'}", "--batch_size=2000",
                         f"--predictions_path={folder}/p.csv", f"--eval_file_name={folder}/auc.log"])  # fmt: skip
        frame = pl.read_csv(folder / "p.csv")
        found[keep_rate] = data, frame["label"].to_numpy(), frame["probability"].to_numpy().astype(np.float64)
        return found[keep_rate]

    return predict


@pytest.mark.parametrize("keep_rate", [0.2, 0.1])
def test_probabilities_and_log_loss_are_those_of_a_training_on_all_rows(rows, predictions, keep_rate):
    data, labels, sampled = predictions(keep_rate)
    _, all_labels, unsampled = predictions(1.0)
    truth = rows[1]
    assert labels.tolist() == all_labels.tolist()  # nothing is left out of the test set
    meta = json.loads((data / "dataset_meta.json").read_text())
    train = meta["splits"]["train"]
    negatives = train["rows"] - train["positives"]
    assert negatives == pytest.approx(keep_rate * (negatives + meta["left_out"]), rel=0.03)
    # Two standard deviations of the number of clicks, as a fraction of it: 0.0074.
    chance = 2 * math.sqrt((truth * (1 - truth)).sum()) / truth.sum()
    calibrations = {"sampled": sampled.sum() / labels.sum(), "unsampled": unsampled.sum() / labels.sum()}
    losses = {"sampled": log_loss(labels, sampled), "unsampled": log_loss(labels, unsampled)}
    print(f"keep rate {keep_rate}: {calibrations}, {losses}, two deviations by chance {chance:.4f}, to the true "
          f"probabilities {sampled.sum() / truth.sum():.4f} and {unsampled.sum() / truth.sum():.4f}, best loss "
          f"{log_loss(labels, truth):.5f}, {train['rows']} rows to train on")  # fmt: skip
    assert chance < 0.01
    assert calibrations["sampled"] == pytest.approx(1, abs=0.01)
    assert losses["sampled"] == pytest.approx(losses["unsampled"], abs=0.003)
    # Without the shifted logit the odds would be those of the sampled rows.
    shifted = sampled / (sampled + (1 - sampled) * keep_rate)
    assert shifted.sum() / labels.sum() > 1.5
