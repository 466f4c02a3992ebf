# SPDX-License-Identifier: Apache-2.0
"""The best recipe and LightGBM on several random splits: python benchmarks/random_splits.py --data=train.txt

A single test set of ten thousand rows tells two models apart to 0.0015 AUC.  Here each split has a test set of its own,
on which one training of each is evaluated.  Results in --work are reused.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import polars as pl

from benchmarks.accuracy import BEST_FLAGS, leads, predict_test, run_deepfm, run_peer, split_rows
from src.evaluation.metrics import log_loss, roc_auc


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="raw rows, as train.txt")
    parser.add_argument("--splits", type=int, default=5, help="number of splits, with seeds from 1 (default: 5)")
    parser.add_argument(
        "--work", type=pathlib.Path, default=pathlib.Path("random_splits"), help="folder (default: random_splits)"
    )
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    print("| split | this repository: AUC | log loss | LightGBM: AUC | log loss | lead: AUC | log loss |")
    print("|---|---|---|---|---|---|---|")
    metrics, all_leads = [], []
    for split_seed in range(1, arguments.splits + 1):
        labels, ours, theirs = predictions_of(arguments.data, split_seed, work)
        metrics.append([metric(labels, run) for run in (ours, theirs) for metric in (roc_auc, log_loss)])
        all_leads.append(leads(labels, [ours], [theirs]))
        print(as_line(split_seed, metrics[-1], all_leads[-1]), flush=True)
    means, errors = np.array(all_leads).transpose(2, 0, 1)  # [splits, 2] each
    error = np.sqrt((errors**2).sum(axis=0)) / len(errors)
    print(as_line("mean", np.mean(metrics, axis=0), zip(means.mean(axis=0), error)))


def predictions_of(data, split_seed, work):
    """Return the labels of the test rows of a split, and what the recipe and LightGBM predict for them."""
    rows = split_rows(data, split_seed)
    labels = rows.filter(pl.col("split") == "test")["label"].to_numpy()
    ours, theirs = work / f"deepfm-{split_seed}.npy", work / f"lightgbm-{split_seed}.npy"
    if not ours.exists():
        folder = work / f"split-{split_seed}"
        checkpoints = run_deepfm(data, BEST_FLAGS, split_seed, folder, split_seed)
        np.save(ours, predict_test(folder / "mindrecord", checkpoints))
    if not theirs.exists():
        rows.write_parquet(work / f"rows-{split_seed}.parquet")
        run_peer("lightgbm", split_seed, theirs, work, f"rows-{split_seed}.parquet")
    return labels, np.load(ours), np.load(theirs)


def as_line(name, metrics, leads_with_errors):
    cells = [name, *(f"{value:.4f}" for value in metrics)]
    cells += [f"{lead:+.4f} ± {error:.4f}" for lead, error in leads_with_errors]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
