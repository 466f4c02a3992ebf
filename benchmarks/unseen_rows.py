# SPDX-License-Identifier: Apache-2.0
"""The best recipe, FuxiCTR and LightGBM on rows that no choice has seen: benchmarks/unseen_rows.py --data=train.txt

The settings of config/criteo_small.yaml were chosen on the validation rows of six splits: that of accuracy.py, and five
of the first nine tenths of the file.  The other rows, about a half, are cut at random into five test sets.  For each,
all rows but its own are the training set and, a ninth of them, the validation set; each model is trained once, with the
number of the test set as its seed.  Results in --work are reused.
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
    PEERS,
    SPLIT_SEED,
    TEST_RATIO,
    VALID_RATIO,
    describe,
    parse_arguments,
    preprocess_and_train,
    read_rows,
    run,
)
from benchmarks.random_splits import OTHERS, complete, table
from src.preprocessing.schema import LABEL, LINE_NUMBER
from src.preprocessing.splits import KeySplits

SELECTION_SEEDS, SELECTION_RATIO, SELECTION_ROWS = range(1, 6), 0.125, 0.9  # of the five splits
REST_RATIO = 1 / 9  # of the rows outside of a test set, for validation


def main():
    arguments = parse_arguments(__doc__, "sets", "number of test sets", 5, "unseen_rows")
    rows = read_rows(arguments.data).drop(LINE_NUMBER).rename({LABEL: "label"})
    unseen = np.flatnonzero(~has_chosen(rows.height))
    print(f"{len(unseen)} of {rows.height} rows were never a validation row", flush=True)
    tests = np.array_split(np.random.default_rng(0).permutation(unseen), arguments.sets)
    results = []
    for number, test in enumerate(tests, 1):
        rows = rows.with_columns(pl.Series("split", draw_split(rows.height, test, number), dtype=pl.String))
        labels, predictions = predictions_of(arguments.data, rows, number, arguments.work)
        results.append((labels, predictions))
        for name, probabilities in predictions.items():
            print(f"set {number}, {name}: {describe(labels, probabilities)}", flush=True)
    print(f"\n{table(results)}")


def has_chosen(row_count):
    """Tell of each row, in the order of the file, whether it was in a validation set that settings were chosen on."""
    has = np.zeros(row_count, bool)
    has[valid_lines(KeySplits.from_ratios(SPLIT_SEED, VALID_RATIO, TEST_RATIO), row_count)] = True
    for seed in SELECTION_SEEDS:
        has[valid_lines(KeySplits.from_ratios(seed, SELECTION_RATIO, 0.0), int(SELECTION_ROWS * row_count))] = True
    return has


def valid_lines(splits, row_count):
    """Return the lines, from 0, of the validation set of a file of so many rows."""
    keys = splits.keys(np.arange(row_count, dtype=np.uint64))
    order = np.argsort(keys)
    return order[splits.split(keys[order])["valid"]]


def draw_split(row_count, test, seed):
    """Return the name of the split of each row."""
    names = np.full(row_count, "train", object)
    names[test] = "test"
    others = np.random.default_rng(seed).permutation(np.flatnonzero(names != "test"))
    names[others[: round(REST_RATIO * len(others))]] = "valid"
    return names


def predictions_of(data, rows, number, work):
    """Return the labels of the test rows, in the order of the file, and what each model predicts for them, by name."""
    folder = work / f"set-{number}"
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "rows.parquet")
    paths = {name: folder / f"{PEERS.get(name, 'deepfm')}.npy" for name in (BEST, *OTHERS)}
    labels = rows.filter(pl.col("split") == "test")["label"].to_numpy()

    def predict_own():
        return run_deepfm(data, rows["split"].to_numpy(), number, folder)

    return labels, complete(paths, predict_own, folder / "rows.parquet", number, work)


def run_deepfm(data, splits, seed, folder):
    """Preprocess, train and score as a user does, with the scripts; return the probabilities of the test rows."""
    lines = np.array(data.read_bytes().split(b"\n")[:-1], object)
    paths = {split: folder / f"{split}.txt" for split in ("train", "valid", "test")}
    for split, path in paths.items():
        path.write_bytes(b"".join(line + b"\n" for line in lines[splits == split]))
    checkpoints, scores = folder / "checkpoint", folder / "scores.csv"
    files = [f"--data_path={paths['train']}", f"--valid_path={paths['valid']}", f"--test_path={paths['test']}"]
    preprocess_and_train(BEST_FLAGS, files, seed, folder / "mindrecord", checkpoints)
    rows = [f"--input_path={paths['test']}", f"--output_path={scores}"]
    run(sys.executable, ROOT / "predict.py", f"--model_path={checkpoints}", *rows)
    return pl.read_csv(scores)["probability"].to_numpy()


if __name__ == "__main__":
    main()
