# SPDX-License-Identifier: Apache-2.0
"""What a batch sixteen times as large costs, with CowClip and without: python benchmarks/large_batch.py

Generates rows whose best possible AUC is known, preprocesses them as the quick start does, and trains the quick start's
network with batches of 1,000 and of 16,000 rows, with four times the learning rate, the square root.  Compared is the
best validation AUC of each training; the test set is not used.  Results in --work are reused.
"""

import argparse
import math
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from benchmarks.accuracy import spread
from src.checkpoint import ModelFolder
from src.criteo_like import write_rows

SMALL, LARGE = 1000, 16_000
LEARNING_RATE = 0.001
COMMON = ["--lr_schedule=one_cycle", "--train_epochs=3", "--report_path=none", "--keep_checkpoint_max=1"]
SMALL_FLAGS = [f"--learning_rate={LEARNING_RATE}", f"--batch_size={SMALL}"]
LARGE_FLAGS = [f"--learning_rate={LEARNING_RATE * math.sqrt(LARGE / SMALL)}", f"--batch_size={LARGE}"]
SETTINGS = {
    "batches of 1,000": SMALL_FLAGS,
    "of 16,000, CowClip": [*LARGE_FLAGS, "--cowclip_ratio=1", "--warmup_ratio=0.1"],
    "of 16,000": LARGE_FLAGS,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_200_000, help="to generate (default: 1200000)")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind (default: 5)")
    parser.add_argument("--work", type=pathlib.Path, default="large_batch", help="folder (default: large_batch)")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    if not (work / "mindrecord").exists():
        work.mkdir(exist_ok=True, parents=True)
        write_rows(work / "train.txt", arguments.rows, seed=11)
        run("src/preprocess_data.py", f"--data_path={work / 'train.txt'}")
    print("| | validation AUC | lead of the small batches: AUC | log loss |\n|---|---|---|---|")
    small = None
    for number, (name, flags) in enumerate(SETTINGS.items()):
        metrics = np.array([train(work, number, flags, seed) for seed in range(1, arguments.seeds + 1)])
        small = metrics if small is None else small
        leads = [f"{lead:+.4f}" for lead in ((small - metrics) * (1, -1)).mean(axis=0)] if number else ["", ""]
        print(f"| {name} | {spread(metrics[:, 0])} | {' | '.join(leads)} |", flush=True)


def train(work: pathlib.Path, number: int, flags: list[str], seed: int) -> tuple[float, float]:
    """Train with some flags; return the best validation AUC and log loss."""
    folder = work / f"{number}-{seed}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        logs = f"--loss_file_name={folder / 'loss.log'}", f"--eval_file_name={folder / 'auc.log'}"
        paths = f"--dataset_path={work / 'mindrecord'}", f"--ckpt_path={folder / 'checkpoint'}"
        run("train.py", *paths, *logs, *COMMON, *flags, f"--seed={seed}")
        (folder / "done").touch()
    best = ModelFolder.load(folder / "checkpoint").best.metrics
    return best["auc"], best["log_loss"]


def run(script: str, *flags: str) -> None:
    config = f"--config_path={ROOT / 'config' / 'quickstart.yaml'}"
    subprocess.run([sys.executable, ROOT / script, config, *flags], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
