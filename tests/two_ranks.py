# SPDX-License-Identifier: Apache-2.0
"""Trainings of two real ranks, as the script starts them, and what they leave."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import psutil

from src.criteo_like import write_rows
from src.preprocessing.splits import KeySplits
from tests.conftest import ROOT
from tests.processes import start_script

TRAIN_ROWS = 12 * 400


def make_even_data(work, run):
    """Return the MindRecord folder of rows of which just TRAIN_ROWS are for training.

    Without padding, the mean over two ranks is exactly that over all rows.
    """
    splits = KeySplits.from_ratios(2020, 0.1, 0.1)
    is_trained = splits.keys(np.arange(2 * TRAIN_ROWS, dtype=np.uint64)) < np.uint64(splits.valid_start)
    row_count = int(np.searchsorted(np.cumsum(is_trained), TRAIN_ROWS)) + 1
    write_rows(work / "train.txt", row_count, seed=2)
    flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=0")
    finished = run(ROOT / "src" / "preprocess_data.py", f"--data_path={work}", *flags)
    assert finished.returncode == 0, finished.stderr
    assert f"train               {TRAIN_ROWS:,} rows" in finished.stdout
    return work / "mindrecord"


def start_two_ranks(data, folder, *flags):
    arguments = (2, data, "--batch_size=200", *flags)
    return start_script("run_distribute_train.sh", *arguments, cwd=folder, DEVICE_TARGET="CPU")


def finish_two_ranks(data, folder, *flags):
    """Let two ranks train to the end."""
    _, errors = (process := start_two_ranks(data, folder, *flags)).communicate(timeout=300)
    assert process.returncode == 0, errors


def evaluate_with_two_ranks(folder, port, *flags):
    """Let msrun evaluate in a folder; return the log of each rank."""
    scripts = pathlib.Path(sys.executable).parent
    subprocess.run(
        [scripts / "msrun", "--worker_num=2", "--local_worker_num=2", "--join=True", "--log_dir=logs",
         f"--master_port={port}", str(ROOT / "eval.py"), *flags],
        cwd=folder, check=True, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    return [(folder / "logs" / f"worker_{rank}.log").read_text() for rank in range(2)]


def read_result(output):
    """Return the result that eval.py has printed."""
    return ast.literal_eval(re.search(r"\{'result.*", output)[0])["result"]


def read_losses(path):
    """Return the steps of a loss log, as they are written, and the losses."""
    lines = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    steps, losses = zip(*(line.split(", loss is ") for line in lines))
    return list(steps), [float(loss) for loss in losses]


def read_validations(path):
    return [line.split(" ", 2)[2].split(", eval_time")[0] for line in path.read_text().splitlines()]


def wait_for_steps(count, folder, process):
    log = folder / "log0" / "loss.log"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= count):
        time.sleep(0.01)


def ranks_of(process):
    """Return the process of each rank of a script."""
    ranks = {}
    for child in psutil.Process(process.pid).children(recursive=True):
        environment = child.environ()
        if environment.get("MS_ROLE") == "MS_WORKER":
            ranks[int(environment["RANK_ID"])] = child
    return ranks


def read_model(folder):
    """Return the content of the model.json of a training in a folder."""
    return json.loads((folder / "checkpoint" / "model.json").read_text())
