# SPDX-License-Identifier: Apache-2.0
"""tune.py as a user runs it, with real trainings."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from src.config import load_config
from tests.conftest import ROOT
from tests.file_watch import FileWatch
from tests.processes import assert_refused, restore_signals

NETWORK = ("--batch_size=400", "--embedding_size=4", "--hidden_sizes=8", "--device_target=CPU")
# Six trials, with two more seeds each, and no limit of time that chance could meet.
TUNE = ("--minutes=1000", "--trials=2", "--train_epochs=2")


def read_trials(folder):
    """Return the trials in the journal of a search."""
    storage = JournalStorage(JournalFileBackend(str(folder / "journal.log")))
    return optuna.load_study(study_name=None, storage=storage).trials


def course(folder):
    """Return values, states and results of the trials that count, bit by bit."""
    return [
        (trial.params, trial.state, trial.values, trial.intermediate_values, trial.user_attrs.get("auc"))
        for trial in read_trials(folder)
        if trial.user_attrs.get("reason") != "interrupted"
    ]


def tune(run, data, folder, *flags, cwd=None):
    command = [ROOT / "tune.py", f"--dataset_path={data}", f"--tune_path={folder}", *NETWORK, *TUNE, *flags]
    return run(*command, cwd=cwd or folder.parent)


@pytest.fixture(scope="module")
def searched(once, data, run):
    """A folder with the search `tune` on intact data, its output, and which files of the splits it has opened."""

    def make(folder):
        folder.mkdir()
        splits = {split: sorted(data.glob(f"{split}_*")) for split in ("test", "valid")}
        watches = {split: FileWatch(paths) for split, paths in splits.items()}
        finished = tune(run, data, folder / "tune")
        assert finished.returncode == 0, finished.stderr
        (folder / "output.txt").write_text(finished.stdout)
        for split, watch in watches.items():
            (folder / f"opened_{split}.txt").write_text("\n".join(path.name for path in sorted(watch.opened())))
            watch.close()

    return once("tune", make)


@pytest.mark.slow
def test_the_test_set_is_never_opened(searched):
    assert (searched / "opened_test.txt").read_text() == ""
    assert "valid_input_part.mindrecord00" in (searched / "opened_valid.txt").read_text()  # the watch sees an opening


@pytest.mark.slow
def test_a_search_does_not_depend_on_the_test_set(searched, data, run, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(data, damaged)
    shards = sorted(damaged.glob("test_*"))
    assert len(shards) >= 2  # and the index
    for shard in shards:
        shard.write_bytes(bytes(shard.stat().st_size))
    finished = tune(run, damaged, tmp_path / "tune")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert course(tmp_path / "tune") == course(searched / "tune")
    assert recipe(tmp_path / "tune") == recipe(searched / "tune")


def recipe(folder):
    """Return the settings in best.yaml without the path of the data."""
    return re.sub(r"^(#|dataset_path:).*\n", "", (folder / "best.yaml").read_text(), flags=re.M)


@pytest.mark.slow
def test_a_search_that_is_killed_and_resumed_has_the_trials_of_one_that_is_not(searched, data, run, tmp_path):
    command = [sys.executable, ROOT / "tune.py", f"--dataset_path={data}", "--tune_path=tune", *NETWORK, *TUNE]
    journal = tmp_path / "tune" / "journal.log"
    for number in (1, 3):  # the index of the trial that the kill interrupts
        resume = [f"--resume={number > 1}"]
        process = subprocess.Popen([*command, *resume], cwd=tmp_path, stdout=subprocess.DEVNULL)
        while process.poll() is None and not has_validation(journal, number):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    refused = tune(run, data, tmp_path / "tune")
    assert_refused(refused, "tune holds an earlier search; resume it by --resume=True", "--overwrite=True")
    finished = tune(run, data, tmp_path / "tune", "--resume=True")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert course(tmp_path / "tune") == course(searched / "tune")
    interrupted = [each for each in read_trials(tmp_path / "tune") if each.user_attrs.get("reason") == "interrupted"]
    assert len(interrupted) >= 1
    assert all(trial.state == TrialState.FAIL for trial in interrupted)


def has_validation(journal, trial):
    """Tell whether a trial has been validated."""
    return journal.exists() and f'"trial_id":{trial},"step"' in journal.read_text()


@pytest.mark.slow
def test_a_signal_stops_the_search_in_a_line_that_says_how_to_resume(data, tmp_path):
    flags = (f"--dataset_path={data}", *NETWORK, *TUNE, "--train_epochs=200")
    process = subprocess.Popen(
        [sys.executable, ROOT / "tune.py", *flags], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=restore_signals,  # noqa: PLW1509
    )  # fmt: skip
    while process.poll() is None and not has_validation(tmp_path / "tune" / "journal.log", 0):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == "stopped by SIGTERM; the same command with --resume=True resumes the search\n"
    assert [trial.state for trial in read_trials(tmp_path / "tune")] == [TrialState.RUNNING]


@pytest.mark.slow
def test_the_next_commands_train_and_evaluate_the_recipe(searched, data, run, tmp_path):
    output = (searched / "output.txt").read_text()
    commands = [line.split("python ")[1] for line in output.splitlines()[-2:]]
    assert [command.split()[0] for command in commands] == ["train.py", "eval.py"]
    for command in commands:
        script, *flags = command.split()
        finished = run(ROOT / script, *flags, "--report_path=none", cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
    config = load_config([f"--config_path={searched / 'tune' / 'best.yaml'}"])
    assert (config.batch_size, config.embedding_size, config.hidden_sizes) == (400, 4, (8,))  # as the flags say
    assert config.dataset_path == str(data)


@pytest.mark.slow
def test_the_output_has_a_line_for_each_trial_and_the_page_one_too(searched, browser):
    lines = (searched / "output.txt").read_text().splitlines()
    trials = read_trials(searched / "tune")
    assert [int(line[:4]) for line in lines[1 : len(trials) + 1]] == list(range(6))
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((searched / "tune" / "tuning.html").as_uri())
    assert page.locator("#trials tbody tr").count() == 6
    assert page.locator("svg").count() == page.locator("figure").count() > 8
    assert errors == []


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--batch_size=8000"], ["--batch_size=8000: the train split has", "use a multiple of 100 up to"]),
        (["--do_eval=False"], ["--do_eval=False: a search compares trials by the validation set"]),
        (["--minutes=0"], ["--minutes=0: must be more than 0"]),
        (["--tune_path=/proc/x"], ["--tune_path=/proc/x cannot be written"]),
        (["--dataset_path=nowhere"], ["nowhere"]),
        (["--minute=3"], ["unknown argument --minute; did you mean --minutes?"]),
    ],
)
def test_a_mistake_is_refused_in_one_line_before_anything_starts(data, run, tmp_path, flags, parts):
    begin = time.monotonic()
    assert_refused(run(ROOT / "tune.py", f"--dataset_path={data}", "--batch_size=400", *flags, cwd=tmp_path), *parts)
    assert time.monotonic() - begin < 20
    assert os.listdir(tmp_path) == []


def test_an_earlier_search_is_replaced_only_if_that_is_asked_for(data, run, tmp_path):
    folder = tmp_path / "tune"
    folder.mkdir()
    (folder / "journal.log").write_text("of an earlier search")
    assert_refused(tune(run, data, folder), "holds an earlier search; resume it by --resume=True")
    assert (folder / "journal.log").read_text() == "of an earlier search"
    assert_refused(tune(run, data, folder, "--overwrite=True", "--epsilon=0"), "--epsilon=0: must be more than 0")
    assert (folder / "journal.log").exists()  # a mistake does not cost it
