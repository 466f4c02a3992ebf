# SPDX-License-Identifier: Apache-2.0
import dataclasses
import os
import signal
import time

import psutil
import pytest

from src.common.signals import Stopped
from src.config import load_config
from src.tuning.messages import Failed, Trained
from src.tuning.trial_process import TrialProcess
from tests import trial_bodies

DEFAULTS = load_config([])
OTHER = dataclasses.replace(DEFAULTS, learning_rate=0.001)


def train(process, config=DEFAULTS, seconds=20, on_validation=lambda validated: False, between=lambda: None):
    return process.train(config, seconds, on_validation, between)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("status", "its process ended with status 3"),
        ("kill", "its process was killed by SIGKILL, as the system does when memory is short"),
        ("memory", "out of memory"),
        ("error", "the loss is nan"),
        ("bug", "RuntimeError: a line"),
        ("slow", "it takes more than 2 s"),
    ],
)
def test_a_trial_that_fails_gives_its_reason_and_the_next_one_is_trained(fault, reason):
    with TrialProcess(trial_bodies.faulty, fault) as process:
        is_late = fault == "slow"
        assert train(process, OTHER, seconds=2 if is_late else 20) == Failed(reason, is_late)
        assert isinstance(train(process), Trained)


def test_one_process_trains_many_trials_and_ends_with_the_block():
    pids = set()
    with TrialProcess(trial_bodies.quick) as process:
        for _ in range(3):
            assert isinstance(train(process), Trained)
            pids.add(process._process.pid)
    (pid,) = pids
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("most", [2, 8])
def test_every_validation_is_reported_and_the_answer_ends_the_trial(most):
    seen = []
    with TrialProcess(trial_bodies.quick) as process:
        result = train(process, on_validation=lambda each: seen.append(each) or len(seen) == most)
    assert [each.epochs for each in seen] == [number / 3 for number in range(1, most + 1)]
    assert result.best == seen[-1]


def test_a_trial_that_is_not_validated_in_time_fails():
    with TrialProcess(trial_bodies.never_validated) as process:
        begin = time.monotonic()
        assert train(process, seconds=1) == Failed("it takes more than 1 s", is_late=True)
        assert time.monotonic() - begin < 10


@pytest.mark.parametrize("body", [trial_bodies.never_validated, trial_bodies.quick])
def test_a_signal_ends_the_process_however_often_it_validates(body):
    def stop():
        if process._connection.poll() or body is trial_bodies.never_validated:
            raise Stopped(signal.SIGTERM)

    with TrialProcess(body) as process:
        with pytest.raises(Stopped):
            train(process, between=stop)
        assert process._process is None
    assert not [each for each in psutil.Process().children() if "spawn_main" in " ".join(each.cmdline())]


def test_the_process_ends_with_the_one_that_has_started_it(run, tmp_path):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from src.config import load_config\n"
        "from src.tuning.trial_process import TrialProcess\n"
        "from tests import trial_bodies\n"
        "if __name__ == '__main__':\n"
        "    process = TrialProcess(trial_bodies.never_validated)\n"
        "    between = lambda: (print(process._process.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL))\n"
        "    process.train(load_config([]), 60, lambda validated: False, between)\n"
    )
    (tmp_path / "script.py").write_text(code)
    finished = run(tmp_path / "script.py", os.getcwd())
    assert finished.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while psutil.pid_exists(int(finished.stdout)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(int(finished.stdout))
