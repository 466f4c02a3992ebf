# SPDX-License-Identifier: Apache-2.0
"""Ablation of config/criteo_small.yaml: python benchmarks/ablation.py --data=train.txt

Trains with the recipe, and without one part of it at a time, on several random splits, and compares the best metrics on
their validation sets; the test sets are not used.  Results in --work are reused.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.accuracy import BEST_FLAGS, parse_arguments, run_deepfm
from src.checkpoint import ModelFolder

STEPS = {
    "the recipe": [],
    "integers as `max`": ["--dense_encoding=max"],
    "integers as `log`": ["--dense_encoding=log"],
    "integers as `bin`": ["--dense_encoding=bin"],
    "integers as `log+bucket`": ["--dense_encoding=log+bucket"],
    "threshold of 10, not 1": ["--threshold=10"],
    "no value statistics": ["--value_statistics=False"],
    "L2 of 8e-5, not 4e-3": ["--l2_coef=8e-5"],
    "L2 of first-order weights as of embeddings": ["--l2_linear_factor=1"],
    "one cycle, not a constant learning rate": ["--lr_schedule=one_cycle", "--learning_rate=2e-3", "--train_epochs=4"],
    "raw weights, not EMA": ["--ema_decay=0"],
    "no dropout of embeddings": ["--embedding_keep_prob=1"],
    "no dropout of hidden units": ["--keep_prob=1"],
    "D=80, 1024-512-256-128, not D=16, 256": ["--embedding_size=80", "--hidden_sizes=1024,512,256,128"],
    "records of 512 rows, not of 64": ["--line_per_sample=512"],
    "one validation per epoch, not two": ["--eval_every_steps=0"],
}


def main():
    arguments = parse_arguments(__doc__, "splits", "splits, and runs of each", 5, "ablation")
    recipe = None
    print("| | validation AUC | log loss | lead of the recipe: AUC | log loss |\n|---|---|---|---|---|")
    for number, (name, flags) in enumerate(STEPS.items()):
        folder = arguments.work / str(number)
        metrics = [best_metrics(arguments.data, flags, seed, folder) for seed in range(1, arguments.splits + 1)]
        aucs, losses = np.array(metrics).T
        recipe = recipe or (aucs, losses)
        lead = [difference(recipe[0], aucs), difference(losses, recipe[1])] if number else ["", ""]
        print(f"| {name} | {aucs.mean():.4f} | {losses.mean():.4f} | {' | '.join(lead)} |", flush=True)


def best_metrics(data, flags, seed, folder):
    """Return the AUC and the log loss of the best checkpoint of a training, on the split with the same seed."""
    checkpoints, done = folder / str(seed) / f"checkpoint-{seed}", folder / f"done-{seed}"
    if not done.exists():
        run_deepfm(data, BEST_FLAGS + flags, seed, folder / str(seed), split_seed=seed)
        done.touch()
    metrics = ModelFolder.load(checkpoints).best.metrics
    return metrics["auc"], metrics["log_loss"]


def difference(ones, others):
    """Return the mean of paired differences with its standard error."""
    values = ones - others
    return f"{values.mean():+.4f} ± {values.std(ddof=1) / np.sqrt(values.size):.4f}"


if __name__ == "__main__":
    main()
