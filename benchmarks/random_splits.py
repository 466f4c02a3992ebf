# SPDX-License-Identifier: Apache-2.0
"""The best recipe, FuxiCTR and LightGBM on several random splits: python benchmarks/random_splits.py --data=train.txt

A single test set of nine thousand rows tells two models apart to 0.0015 AUC.  Here each split has a test set of its
own, on which one training of each model is evaluated.  Results in --work are reused.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import polars as pl

from benchmarks.accuracy import (
    BEST,
    BEST_FLAGS,
    HEADER,
    PEERS,
    describe,
    leads,
    parse_arguments,
    predict_test,
    run_deepfm,
    run_peer,
    split_rows,
)
from src.evaluation.metrics import log_loss, roc_auc

OTHERS = ("FuxiCTR", "LightGBM")


def main():
    arguments = parse_arguments(__doc__, "splits", "number of splits, with seeds from 1", 20, "random_splits")
    splits = []
    for split_seed in range(1, arguments.splits + 1):
        labels, predictions = predictions_of(arguments.data, split_seed, arguments.work)
        splits.append((labels, predictions))
        for name, run in predictions.items():
            print(f"split {split_seed}, {name}: {describe(labels, run)}", flush=True)
    print(f"\n{table(splits)}")


def predictions_of(data, split_seed, work):
    """Return the labels of the test rows of a split, and what each model predicts for them, by its name."""
    rows = split_rows(data, split_seed)
    rows_path = work / f"rows-{split_seed}.parquet"
    rows.write_parquet(rows_path)
    labels = rows.filter(pl.col("split") == "test")["label"].to_numpy()
    paths = {name: work / f"{PEERS.get(name, 'deepfm')}-{split_seed}.npy" for name in (BEST, *OTHERS)}
    folder = work / f"split-{split_seed}"

    def predict_own():
        return predict_test(folder / "mindrecord", run_deepfm(data, BEST_FLAGS, split_seed, folder, split_seed))

    return labels, complete(paths, predict_own, rows_path, split_seed, work)


def complete(paths, predict_own, rows_path, seed, work):
    """Return the predictions of each model by its name; those whose file is missing are made and saved first."""
    for name, path in paths.items():
        if not path.exists() and name == BEST:
            np.save(path, predict_own())
        elif not path.exists():
            run_peer(PEERS[name], rows_path, seed, path, work)
    return {name: np.load(path) for name, path in paths.items()}


def table(splits):
    """Return a Markdown table of the means over splits; the errors of leads are those of independent test sets."""
    lines = [HEADER]
    for name in (BEST, *OTHERS):
        metrics = [[metric(labels, runs[name]) for metric in (roc_auc, log_loss)] for labels, runs in splits]
        cells = [name, *(f"{mean:.4f}" for mean in np.mean(metrics, axis=0)), "", ""]
        if name != BEST:
            found = np.array([leads(labels, [runs[BEST]], [runs[name]]) for labels, runs in splits])  # [splits, 2, 2]
            errors = np.sqrt((found[:, :, 1] ** 2).sum(axis=0)) / len(found)
            cells[3:] = (f"{lead:+.4f} ± {error:.4f}" for lead, error in zip(found[:, :, 0].mean(axis=0), errors))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
