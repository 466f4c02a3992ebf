# SPDX-License-Identifier: Apache-2.0
"""Every entry point, stopped by signals, then run again."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.processes import restore_signals

NETWORK = ("--batch_size=200", "--embedding_size=4", "--hidden_sizes=8", "--device_target=CPU", "--report_path=none")
TRAINING = ("--ckpt_path=other", "--overwrite=True", "--log_every=1")
SCRIPTS = {
    "train.py": [*NETWORK, *TRAINING],
    "eval.py": [*NETWORK],
    "export.py": ["--ckpt_file=checkpoint", *NETWORK],
    "preprocess.py": [],
    "postprocess.py": ["--result_path=predictions"],
    "src/preprocess_data.py": ["--data_path=raw", "--threshold=10", "--line_per_sample=100", "--overwrite=True"],
    "src/criteo_like.py": ["--rows=200000", "--out=generated.txt"],
}
HINTS = {
    "train.py": "; the same command with --resume=True resumes from there",
    "src/preprocess_data.py": "; run the same command again to resume",
}
SECONDS_TO_END = 10  # it takes less than one on an idle machine
STOPS = 3  # of each script


def start(script, data, cwd, *flags):
    command = ["-m", "src.criteo_like"] if script == "src/criteo_like.py" else [str(ROOT / script)]
    dataset = [] if script.startswith("src/") else [f"--dataset_path={data}"]
    return subprocess.Popen(
        [sys.executable, *command, *dataset, *SCRIPTS[script], *flags], cwd=cwd, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=restore_signals,  # noqa: PLW1509
    )  # fmt: skip


@pytest.fixture(scope="module")
def work(data, tmp_path_factory):
    """A folder with raw rows, a checkpoint trained on them, and the input and output files of the C++ runner."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "raw").mkdir()
    os.link(data.parent / "train.txt", folder / "raw" / "train.txt")
    for script, *flags in (("train.py", "--ckpt_path=checkpoint", "--train_epochs=1"), ("preprocess.py",)):
        process = start(script, data, folder, *flags)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    inputs = folder / "preprocess_Result"
    shutil.copytree(inputs / "02_labels", folder / "predictions")  # labels in place of the predictions of the runner
    shutil.copy(inputs / "data_identity.txt", folder / "predictions")
    return folder


def stop(script, data, work, moment, number, *flags):
    """Send a script a signal `moment` seconds after its start; return the seconds until it has ended."""
    process = start(script, data, work, *flags)
    time.sleep(moment)
    process.send_signal(number)
    sent = time.monotonic()
    _, errors = process.communicate(timeout=60)
    seconds = time.monotonic() - sent
    if process.returncode:  # otherwise the script had finished before
        line = f"stopped by {number.name}"
        assert process.returncode == 128 + number, errors
        assert errors in (f"{line}\n", f"{line}{HINTS.get(script, '')}\n")
    return seconds


def run_again(script, data, work):
    process = start(script, data, work, *(["--train_epochs=1"] if script == "train.py" else []))
    _, errors = process.communicate(timeout=200)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("script", "number"),
    [
        ("train.py", signal.SIGINT),
        ("eval.py", signal.SIGTERM),
        ("export.py", signal.SIGINT),
        ("src/criteo_like.py", signal.SIGTERM),
    ],
)
def test_a_signal_during_the_imports_ends_the_process_in_one_line(data, tmp_path, script, number):
    (tmp_path / "checkpoint").mkdir()  # without it, or without data, the process would end before these imports
    assert stop(script, data, tmp_path, 0.4, number) < SECONDS_TO_END


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_stopped_at_random_moments_ends_in_one_line_and_runs_again(data, work, script):
    began = time.monotonic()
    run_again(script, data, work)
    duration, dice = time.monotonic() - began, random.Random(script)
    for part in range(STOPS):  # one in each of as many equal parts of the run, so that the moments are spread over it
        moment = 0.3 + (duration - 0.3) * (part + dice.random()) / STOPS
        number = dice.choice([signal.SIGTERM, signal.SIGINT])
        stop(script, data, work, moment, number, *(["--train_epochs=50"] * (script == "train.py")))
    run_again(script, data, work)


@pytest.mark.parametrize("script", ["eval.py", "src/preprocess_data.py"])
def test_left_over_launcher_variables_are_refused_in_one_line_or_ignored(data, tmp_path, script, monkeypatch):
    (tmp_path / "raw").mkdir()
    os.link(data.parent / "train.txt", tmp_path / "raw" / "train.txt")
    for name, value in (("MS_SCHED_HOST", "127.0.0.1"), ("MS_WORKER_NUM", "x"), ("RANK_ID", "x"), ("DEVICE_ID", "")):
        monkeypatch.setenv(name, value)
    process = start(script, data, tmp_path)
    _, errors = process.communicate(timeout=100)
    if script == "eval.py":
        assert process.returncode == 2
        assert errors == (
            "error: MS_SCHED_HOST=127.0.0.1 is set, but MS_ROLE is not: unset it to run alone, or start the processes "
            "with msrun\n"
        )
    else:  # preprocessing is never one of several processes
        assert (process.returncode, errors) == (0, "")
