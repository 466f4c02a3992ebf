# SPDX-License-Identifier: Apache-2.0
"""Accuracy of DeepFM and of other libraries on the same rows: python benchmarks/accuracy.py --data=train.txt

Every model is fitted on the training set, selected on the validation set, and evaluated on the test set once per seed.
The other libraries run in an environment of their own, which the first run creates in --work; results there are reused.
"""

import argparse
import functools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import polars as pl

from src.evaluation.metrics import PROBABILITY_FLOOR, auc_components, log_loss, roc_auc
from src.preprocessing.chunks import read_source
from src.preprocessing.raw_columns import MISSING, to_texts
from src.preprocessing.reading import parse_raw_chunk
from src.preprocessing.schema import KEY, LABEL, LINE_NUMBER, FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.splits import KeySplits

SPLIT_SEED = 2020
VALID_RATIO = TEST_RATIO = 0.1
ROWS_OF_A_BATCH = 10_000  # of predictions, about
HEADER = "| model | test AUC | test log loss | lead of the best recipe: AUC | log loss |\n|---|---|---|---|---|"
BEST = "this repository, best recipe"
BEST_FLAGS = [f"--config_path={ROOT / 'config' / 'criteo_small.yaml'}"]
RECIPES = {
    "this repository, model zoo's recipe": [
        "--dense_encoding=max", "--threshold=10", "--line_per_sample=100", "--batch_size=1000",
    ],
    BEST: BEST_FLAGS,
}  # fmt: skip
PEERS = {
    "the same in plain PyTorch": "plain_pytorch",
    "FuxiCTR": "fuxictr",
    "DeepCTR-Torch": "deepctr_torch",
    "logistic regression": "logistic_regression",
    "LightGBM": "lightgbm",
}
ORDER = ("this repository, model zoo's recipe", "the same in plain PyTorch", BEST, *list(PEERS)[1:])
WITHOUT_CHANCE = ("logistic regression",)  # run once
PEERS_REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"


def main():
    arguments = parse_arguments(__doc__, "seeds", "runs of each model", 5, "accuracy")
    work = arguments.work
    rows = split_rows(arguments.data)
    rows.write_parquet(work / "rows.parquet")
    labels = rows.filter(pl.col("split") == "test")["label"].to_numpy()
    predictions = {}
    for name in ORDER:
        runs = []
        for seed in range(1, 2 if name in WITHOUT_CHANCE else arguments.seeds + 1):
            slug = re.sub(r"[^a-z]+", "_", name.lower())
            path = work / f"{slug}-{seed}.npy"
            if not path.exists() and name in PEERS:
                run_peer(PEERS[name], work / "rows.parquet", seed, path, work)
            elif not path.exists():
                checkpoints = run_deepfm(arguments.data, RECIPES[name], seed, work / slug)
                np.save(path, predict_test(work / slug / "mindrecord", checkpoints))
            runs.append(np.load(path))
            print(f"{name}, seed {seed}: {describe(labels, runs[-1])}", flush=True)
        predictions[name] = runs
    print(f"\n{len(labels)} test rows of {rows.height}, {arguments.seeds} seeds\n")
    print(table(labels, predictions))


def parse_arguments(description, counted, help_text, count, work):
    """Return data, the number `counted`, and work, the folder, which is made, of a benchmark's command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="raw rows, as train.txt")
    parser.add_argument(f"--{counted}", type=int, default=count, help=f"{help_text} (default: {count})")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path(work), help=f"folder (default: {work})")
    arguments = parser.parse_args()
    arguments.work = arguments.work.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    return arguments


def read_rows(path):
    """Return the well-formed rows with LINE_NUMBER and LABEL, in the order of the file, as a frame."""
    parts = []
    for chunk in read_source(Source((path,)), FieldSchema.criteo(13, 26), 1 << 24):
        frame = parse_raw_chunk(chunk).frame
        parts.append(frame.select(*(plain(frame[name]) for name in frame.columns)))
    return pl.concat(parts, how="vertical_relaxed")


def split_rows(path, split_seed=SPLIT_SEED):
    """Return the well-formed rows with their split, in the order of the MindRecord folder, as a frame."""
    splits = KeySplits.from_ratios(split_seed, VALID_RATIO, TEST_RATIO)
    rows = splits.with_keys(read_rows(path))
    names = np.empty(rows.height, object)
    for split, part in splits.split(rows[KEY].to_numpy()).items():
        names[part] = split
    return rows.with_columns(pl.Series("split", names, dtype=pl.String)).drop(KEY).rename({LABEL: "label"})


def plain(column):
    """Return a column of src.preprocessing.raw_columns as text or integers, with nulls for missing values."""
    if column.name in (LINE_NUMBER, LABEL):
        return column
    missing = column == MISSING[column.dtype]
    plain = to_texts(column) if column.dtype == pl.UInt32 else column
    return plain.set(missing, None)


def run_peer(model, rows_path, seed, out, work):
    run(peers_python(work), ROOT / "benchmarks" / "peers.py", model, rows_path, seed, out)


@functools.cache
def peers_python(work):
    """Return the interpreter of the environment of the others, which is made, or completed, first."""
    python = work / "peers" / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", python.parent.parent)
    run(python, "-m", "pip", "install", "-q", "-r", PEERS_REQUIREMENTS)
    return python


def run_deepfm(data, flags, seed, folder, split_seed=SPLIT_SEED):
    """Preprocess and train as a user does, with the scripts; return the folder of checkpoints.

    Runs with the same flags and the same split share the folder, and reuse its preprocessed data.
    """
    (folder / "origin_data").mkdir(parents=True, exist_ok=True)
    link = folder / "origin_data" / "train.txt"
    link.unlink(missing_ok=True)
    link.symlink_to(data.resolve())
    checkpoints = folder / f"checkpoint-{seed}"
    flags = [*flags, *split_flags(split_seed)]
    preprocess_and_train(flags, [f"--data_path={folder}"], seed, folder / "mindrecord", checkpoints)
    return checkpoints


def preprocess_and_train(flags, rows, seed, dataset, checkpoints):
    """Run the scripts.  flags: of both.  rows: those that name raw rows.  dataset: the MindRecord folder to write."""
    flags = [*flags, "--train_line_count=0", "--device_target=CPU"]
    run(sys.executable, ROOT / "src" / "preprocess_data.py", *flags, *rows, f"--output_dir={dataset}")
    folder = dataset.parent
    run(
        sys.executable, ROOT / "train.py", *flags, f"--seed={seed}", f"--dataset_path={dataset}",
        f"--ckpt_path={checkpoints}", f"--loss_file_name={folder / 'loss.log'}",
        f"--eval_file_name={folder / 'auc.log'}", "--report_path=none", "--overwrite=True",
    )  # fmt: skip


def split_flags(split_seed):
    return [f"--split_seed={split_seed}", f"--valid_ratio={VALID_RATIO}", f"--test_ratio={TEST_RATIO}"]


def run(*command):
    """Run a command quietly and return its output; if it fails, end with what it said."""
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{finished.stderr[-2000:]}")
    return finished.stdout


def predict_test(dataset_path, checkpoints):
    from src.checkpoint import find_checkpoint
    from src.dataset import create_dataset
    from src.dataset_meta import DatasetMeta
    from src.deepfm import create_predictor
    from src.distributed.device import select_device
    from src.distributed.process_group import ProcessGroup
    from src.evaluation.evaluate import predict

    select_device("CPU", 0)
    checkpoint = find_checkpoint(checkpoints)
    data = DatasetMeta.load(dataset_path)
    test = create_dataset(data, "test", ROWS_OF_A_BATCH // data.rows_per_record * data.rows_per_record)
    probabilities = predict(create_predictor(checkpoint.load_network(target="CPU")), test, ProcessGroup(), "test")[1]
    return probabilities.astype(np.float64)


def describe(labels, probabilities):
    return f"test AUC {roc_auc(labels, probabilities):.4f}, log loss {log_loss(labels, probabilities):.4f}"


def table(labels, predictions):
    """Return a Markdown table; how far BEST is ahead, with the standard error that the choice of test rows makes."""
    lines = [HEADER]
    for name, runs in predictions.items():
        aucs, losses = ([score(labels, run) for run in runs] for score in (roc_auc, log_loss))
        cells = [name, spread(aucs), spread(losses), "", ""]
        if name != BEST:
            cells[3:] = [f"{mean:+.4f} ± {error:.4f}" for mean, error in leads(labels, predictions[BEST], runs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(metrics):
    deviation = f" ± {np.std(metrics, ddof=1):.4f}" if len(metrics) > 1 else ""
    return f"{np.mean(metrics):.4f}{deviation}"


def leads(labels, runs, other_runs):
    """Return how far runs are ahead of others in AUC and in log loss, each with its standard error, paired by rows."""
    parts = zip(auc_parts(labels, runs), auc_parts(labels, other_runs))
    clicks, others = (own - other for own, other in parts)
    auc_error = np.sqrt(clicks.var(ddof=1) / clicks.size + others.var(ddof=1) / others.size)
    gain = row_losses(labels, other_runs) - row_losses(labels, runs)
    return (clicks.mean(), auc_error), (gain.mean(), gain.std(ddof=1) / np.sqrt(gain.size))


def auc_parts(labels, runs):
    """Return the components of DeLong's variance, of clicks and of the other rows, averaged over runs."""
    parts = [auc_components(run[labels == 1], run[labels == 0]) for run in runs]
    return [np.mean(part, axis=0) for part in zip(*parts)]


def row_losses(labels, runs):
    """Return the log loss of each row, averaged over runs."""
    clipped = [np.clip(run, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR) for run in runs]
    return np.mean([-np.log(np.where(labels == 1, run, 1 - run)) for run in clipped], axis=0)


if __name__ == "__main__":
    main()
