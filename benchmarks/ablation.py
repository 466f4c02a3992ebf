# SPDX-License-Identifier: Apache-2.0
"""What each step of config/criteo_small.yaml is worth: python benchmarks/ablation.py --data=train.txt

Trains with the recipe, and with one step of it taken back at a time, and compares the best scores on the valid split;
the test split is not looked at. Results in --work are used again.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.accuracy import BEST_FLAGS, run_ours, spread
from src.checkpoint import ModelFolder

STEPS = {
    "the recipe": [],
    "integers as `max`": ["--dense_encoding=max"],
    "integers as `log`": ["--dense_encoding=log"],
    "integers as `bucket`": ["--dense_encoding=bucket"],
    "ids for values of more than 10 rows, not 1": ["--threshold=10"],
    "L2 of 8e-5, not 3e-3": ["--l2_coef=8e-5"],
    "constant rate of 5e-4, not one cycle": ["--lr_schedule=constant", "--learning_rate=5e-4", "--warmup_ratio=0"],
    "last weights, not their average": ["--ema_decay=0"],
    "no dropout of embeddings": ["--embedding_keep_prob=1"],
    "no dropout of hidden units": ["--keep_prob=1"],
    "D=80, 1024-512-256-128, not D=16, 64-32": ["--embedding_size=80", "--hidden_sizes=1024,512,256,128"],
    "blocks of 128 rows shuffled, not of 8": ["--line_per_sample=128"],
    "one look at valid an epoch, not four": ["--eval_every_steps=0"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="raw rows, as train.txt")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--work", type=pathlib.Path, default="ablation", help="folder (default: ablation)")
    arguments = parser.parse_args()
    recipe = None
    print("| | valid AUC | log loss | recipe ahead: AUC | log loss |\n|---|---|---|---|---|")
    for number, (name, flags) in enumerate(STEPS.items()):
        scores = []
        for seed in range(1, arguments.seeds + 1):
            folder = arguments.work.resolve() / str(number)
            done = folder / f"done-{seed}"
            if not done.exists():
                run_ours(arguments.data, BEST_FLAGS + flags, seed, folder)
                done.touch()
            best = ModelFolder.load(folder / f"checkpoint-{seed}").best.metrics
            scores.append((best["auc"], best["log_loss"]))
        aucs, losses = np.array(scores).T
        recipe = (aucs, losses) if recipe is None else recipe
        lead = [f"{(recipe[0] - aucs).mean():+.4f}", f"{(losses - recipe[1]).mean():+.4f}"] if number else ["", ""]
        print(f"| {name} | {spread(aucs)} | {spread(losses)} | {' | '.join(lead)} |", flush=True)


if __name__ == "__main__":
    main()
