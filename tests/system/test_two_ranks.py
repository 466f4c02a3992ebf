# SPDX-License-Identifier: Apache-2.0
"""Two real ranks on the CPU: they train and evaluate as one process does, stop together, and survive a death."""

import json
import pathlib
import re
import signal
import time
from dataclasses import dataclass

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT
from tests.two_ranks import (
    evaluate_with_two_ranks,
    make_even_data,
    ranks_of,
    read_losses,
    read_model,
    read_result,
    read_validations,
    start_two_ranks,
    wait_for_steps,
)

FLAGS = ("--embedding_size=4", "--hidden_sizes=16,8", "--keep_prob=1", "--learning_rate=0.01", "--log_every=1",
         "--l2_coef=1e-3", "--clip_norm=1", "--eval_every_steps=7", "--lr_schedule=plateau", "--train_epochs=4",
         "--keep_checkpoint_max=0", "--value_statistics=True", "--report_path=none")  # fmt: skip
FLOAT32 = 5e-7  # relative: a matrix product may be rounded otherwise where other threads share it
STEPS = 4 * 12


@pytest.fixture(scope="module")
def data(tmp_path_factory, run):
    return make_even_data(tmp_path_factory.mktemp("data"), run)


@dataclass(frozen=True)
class StoppedRun:
    """A run that SIGTERM has ended: its folder, the processes that it had, exit status and stderr of the script."""

    folder: pathlib.Path
    processes: list[psutil.Process]
    status: int
    errors: str


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """A training of two ranks that SIGTERM has ended."""
    folder = tmp_path_factory.mktemp("two")
    process = start_two_ranks(data, folder, *FLAGS)
    wait_for_steps(15, folder, process)
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    return StoppedRun(folder, processes, process.returncode, errors)


@pytest.fixture(scope="module")
def resumed(stopped, data):
    """The folder of that training after it was resumed and has ended."""
    process = start_two_ranks(data, stopped.folder, *FLAGS, "--resume=True")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    return stopped.folder


def history_of(folder):
    return json.loads((folder / "checkpoint" / "run.json").read_text())["history"]


@pytest.mark.slow
def test_sigterm_stops_all_ranks_after_the_same_step(stopped):
    assert stopped.status == 143
    assert "stopped by SIGTERM; the same command with --resume=True resumes from there" in stopped.errors
    assert not [left for left in stopped.processes if left.is_running() and left.status() != psutil.STATUS_ZOMBIE]
    _, losses = read_losses(stopped.folder / "log0" / "loss.log")
    assert read_model(stopped.folder)["checkpoints"][-1]["state"]["step"] == len(losses) < STEPS


@pytest.mark.slow
def test_two_ranks_stopped_and_resumed_equal_one_process_with_twice_the_batch_size(resumed, data, tmp_path, run):
    finished = run(
        ROOT / "train.py", f"--dataset_path={data}", "--batch_size=400", "--device_target=CPU", *FLAGS, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    expected_steps, expected_losses = read_losses(tmp_path / "loss.log")
    steps, losses = read_losses(resumed / "log0" / "loss.log")
    assert len(expected_steps) == STEPS
    assert steps == expected_steps
    assert losses == pytest.approx(expected_losses, rel=2e-6)
    assert read_validations(resumed / "log0" / "auc.log") == read_validations(tmp_path / "auc.log")
    for actual, expected in zip(history_of(resumed), history_of(tmp_path)):
        assert actual["valid"]["auc"] == pytest.approx(expected["valid"]["auc"], abs=2e-6)
    assert re.search(r"rank 1 of 2\nresuming from .*, after step \d+", (resumed / "log1" / "output.log").read_text())


@pytest.mark.slow
def test_two_ranks_evaluate_a_checkpoint_as_one_process_does(resumed, data, tmp_path, run):
    flags = (
        f"--dataset_path={data}",
        "--batch_size=200",
        "--device_target=CPU",
        f"--checkpoint_path={resumed / 'checkpoint' / 'deepfm-1_7.ckpt'}",  # early enough to need a recalibration
        "--fit_calibration=True",
        "--predictions_path=predictions.csv",
    )
    single = run(ROOT / "eval.py", *flags, cwd=tmp_path)
    predictions = read_predictions(tmp_path / "predictions.csv")
    logs = evaluate_with_two_ranks(tmp_path, 8131, *flags)
    expected, actual = flat_metrics(single.stdout), flat_metrics(logs[0])
    assert actual == {name: pytest.approx(value, rel=FLOAT32) for name, value in expected.items()}
    assert 0 < expected["AUC"] == expected["before.auc"]
    assert expected["log_loss"] < expected["before.log_loss"]
    assert not re.search("result|recalibration|log loss", logs[1])
    for label, probabilities in read_predictions(tmp_path / "predictions.csv").items():
        np.testing.assert_allclose(probabilities, predictions[label], rtol=FLOAT32)


def flat_metrics(output):
    """Return the numbers of the result line of eval.py but for the time; those before recalibration as "before.*"."""
    metrics = read_result(output)
    del metrics["eval_time"]
    before = metrics.pop("before_recalibration")
    flat = {**metrics, **{f"before.{name}": value for name, value in before.items()}}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flat.items()}


def read_predictions(path):
    """Return {label: ascending probabilities} of a file of predictions."""
    _, labels, probabilities = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
    return {label: np.sort(probabilities[labels == label]) for label in (0, 1)}


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_and_a_single_process_can_resume_it(data, tmp_path, run):
    process = start_two_ranks(data, tmp_path, *FLAGS, "--save_checkpoint_steps=5")
    wait_for_steps(16, tmp_path, process)
    ranks_of(process)[1].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    # Rank 0 may end so soon afterwards that both are shown.
    assert "error: rank 1 has failed; the end of log1/output.log:\ndevice: CPU\nrank 1 of 2\n" in errors
    assert errors.startswith("error: rank ")
    finished = run(
        ROOT / "train.py", f"--dataset_path={data}", "--batch_size=200", "--device_target=CPU", *FLAGS, "--resume=True",
        "--train_epochs=2", cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    step = int(re.search(r"after step (\d+)", finished.stdout)[1])
    assert 14 <= step < STEPS
    # A single process resumes with the remaining rows of the epoch, in steps of half as many rows.
    steps, _ = read_losses(tmp_path / "loss.log")
    first = 2 * step
    assert steps[0] == f"epoch: {first // 24 + 1} step: {first % 24 + 1}"
    assert steps[-1] == "epoch: 2 step: 24"
    assert len(steps) == 48 - first


SAVING_SECONDS = 1  # for the barrier and the file, on a busy machine
LONG = ("--embedding_size=4", "--keep_prob=0.9", "--learning_rate=0.01", "--lr_schedule=one_cycle", "--l2_coef=0",
        "--do_eval=False", "--report_path=none", "--log_every=12")  # fmt: skip


def last_checkpoint(folder):
    return read_model(folder)["checkpoints"][-1]


@pytest.mark.slow
def test_a_signal_to_one_rank_stops_both_in_time_and_resume_is_exact(data, tmp_path):
    epochs, sink_size = 4, 2
    flags = (*LONG, "--hidden_sizes=1000,1000", f"--train_epochs={epochs}", f"--sink_size={sink_size}")

    def start(name):
        (tmp_path / name).mkdir()
        return start_two_ranks(data, tmp_path / name, *flags)

    process = start("undisturbed")
    wait_for_steps(1, tmp_path / "undisturbed", process)
    began = time.monotonic()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    seconds_per_step = (time.monotonic() - began) / (12 * (epochs - 1))
    process = start("stopped")
    wait_for_steps(1, tmp_path / "stopped", process)
    time.sleep(sink_size * seconds_per_step)  # else it may stop both after the step that was logged
    ranks_of(process)[1].send_signal(signal.SIGTERM)
    sent = time.time()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    last = last_checkpoint(tmp_path / "stopped")
    assert 12 < last["state"]["step"] < 12 * epochs
    assert last["state"]["step"] % sink_size == 0
    written = (tmp_path / "stopped" / "checkpoint" / last["file"]).stat().st_mtime
    assert written - sent < max(1, sink_size * seconds_per_step) + SAVING_SECONDS
    process = start_two_ranks(data, tmp_path / "stopped", *flags, "--resume=True")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert last_checkpoint(tmp_path / "stopped")["sha256"] == last_checkpoint(tmp_path / "undisturbed")["sha256"]
