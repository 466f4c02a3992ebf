# SPDX-License-Identifier: Apache-2.0
"""Ablation of config/criteo_small.yaml: python benchmarks/ablation.py --data=train.txt

Trains with the recipe, and without one part of it at a time, and compares the best metrics on the validation set; the
test set is not used. Results in --work are reused.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.accuracy import BEST_FLAGS, run_deepfm, spread
from src.checkpoint import ModelFolder

STEPS = {
    "the recipe": [],
    "integers as `max`": ["--dense_encoding=max"],
    "integers as `log`": ["--dense_encoding=log"],
    "integers as `bin`": ["--dense_encoding=bin"],
    "integers as `log+bucket`": ["--dense_encoding=log+bucket"],
    "threshold of 10, not 1": ["--threshold=10"],
    "no value statistics": ["--value_statistics=False"],
    "L2 of 8e-5, not 5e-3": ["--l2_coef=8e-5"],
    "L2 of first-order weights as of embeddings": ["--l2_linear_factor=1"],
    "one cycle, not a constant learning rate": ["--lr_schedule=one_cycle", "--learning_rate=2e-3", "--train_epochs=4"],
    "raw weights, not EMA": ["--ema_decay=0"],
    "no dropout of embeddings": ["--embedding_keep_prob=1"],
    "no dropout of hidden units": ["--keep_prob=1"],
    "D=80, 1024-512-256-128, not D=8, 256": ["--embedding_size=80", "--hidden_sizes=1024,512,256,128"],
    "records of 512 rows, not of 64": ["--line_per_sample=512"],
    "one validation per epoch, not two": ["--eval_every_steps=0"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="raw rows, as train.txt")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--work", type=pathlib.Path, default="ablation", help="folder (default: ablation)")
    arguments = parser.parse_args()
    recipe = None
    print("| | validation AUC | log loss | lead of the recipe: AUC | log loss |\n|---|---|---|---|---|")
    for number, (name, flags) in enumerate(STEPS.items()):
        metrics = []
        for seed in range(1, arguments.seeds + 1):
            folder = arguments.work.resolve() / str(number)
            done = folder / f"done-{seed}"
            if not done.exists():
                run_deepfm(arguments.data, BEST_FLAGS + flags, seed, folder)
                done.touch()
            best = ModelFolder.load(folder / f"checkpoint-{seed}").best.metrics
            metrics.append((best["auc"], best["log_loss"]))
        aucs, losses = np.array(metrics).T
        recipe = (aucs, losses) if recipe is None else recipe
        lead = [f"{(recipe[0] - aucs).mean():+.4f}", f"{(losses - recipe[1]).mean():+.4f}"] if number else ["", ""]
        print(f"| {name} | {spread(aucs)} | {spread(losses)} | {' | '.join(lead)} |", flush=True)


if __name__ == "__main__":
    main()
