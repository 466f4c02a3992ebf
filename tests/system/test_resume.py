# SPDX-License-Identifier: Apache-2.0
"""Training that is killed, stopped by a signal, or finds its checkpoints damaged, and resumes."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT, with_bfloat16
from tests.processes import assert_refused
from tests.training import run_train

KILLS = 4
FLAGS = ("--device_target=CPU", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=16,8", "--keep_prob=0.8",
         "--learning_rate=0.01", "--train_epochs=4", "--log_every=1", "--eval_every_steps=11", "--lr_schedule=plateau",
         "--warmup_ratio=0.1", "--clip_norm=1", "--save_checkpoint_steps=4", "--keep_checkpoint_max=3",
         "--value_statistics=True", "--report_path=none")  # fmt: skip
STEPS = 4 * 24


def command(data, *flags):
    return [sys.executable, str(ROOT / "train.py"), f"--dataset_path={data}", *FLAGS, *flags]


def run_here(data, folder, *flags):
    """Train in this process."""
    run_train(folder, f"--dataset_path={data}", *FLAGS, *flags)


def outcome(folder):
    """Return what a run leaves: digests of the checkpoints, and its logs without the times."""
    checkpoints = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "checkpoint").glob("*.ckpt")
    }
    losses = [line.split(" ", 2)[2] for line in (folder / "loss.log").read_text().splitlines()]
    looks = [line.split(" ", 2)[2].split(", eval_time")[0] for line in (folder / "auc.log").read_text().splitlines()]
    record = json.loads((folder / "checkpoint" / "run.json").read_text())
    best = json.loads((folder / "checkpoint" / "model.json").read_text())["best"]
    return checkpoints, losses, looks, record["history"], record["losses"], best


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, data, cpu):
    """Return the folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_here(data, folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(finished_run):
    """Return the outcome of a run that nothing stops."""
    expected = outcome(finished_run)
    checkpoints, losses, looks, history, recorded_losses, best = expected
    assert [f"{loss:.7g}" for _, loss, _ in recorded_losses] == [line.rsplit(" ", 1)[1] for line in losses]
    assert f"deepfm-4_{STEPS // 4}.ckpt" in checkpoints
    assert best in checkpoints
    assert len(checkpoints) in (3, 4)
    assert len(losses) == STEPS
    assert len(looks) == len(history) == STEPS // 11 + 4
    assert len({look["learning_rate"] for look in history}) > 1  # the plateau did something
    return expected


def start_and_wait_for(steps, folder, data, *flags):
    """Start a run; return the process when its loss log has that many lines, or it has ended."""
    process = subprocess.Popen(
        command(data, *flags), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = folder / "loss.log"
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= steps):
        time.sleep(0.002)
    return process


def resume(data, folder, *flags):
    finished = subprocess.run(
        command(data, "--resume=True", *flags), cwd=folder, capture_output=True, text=True, check=False, timeout=200
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.slow
def test_resume_after_kills_at_random_moments_ends_as_the_undisturbed_run(undisturbed, data, tmp_path):
    dice = random.Random(3)
    targets = sorted(dice.sample(range(6, STEPS - 4), KILLS))
    kills = 0
    for target in targets:
        if kills and (tmp_path / "loss.log").read_bytes().count(b"\n") >= target:
            continue  # the last kill came so late that this moment is over
        process = start_and_wait_for(target, tmp_path, data, *(["--resume=True"] if kills else []))
        time.sleep(dice.uniform(0, 0.1))
        process.kill()
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not kills or "resuming from checkpoint/deepfm-" in output
        kills += 1
    assert kills > 1
    resume(data, tmp_path)
    assert outcome(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_after_the_step_and_resume_ends_as_the_undisturbed_run(undisturbed, data, tmp_path, number):
    process = start_and_wait_for(29, tmp_path, data)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    message = f"stopped by {number.name}; the same command with --resume=True resumes from there\n"
    assert (process.returncode, errors) == (128 + number, message)
    model = json.loads((tmp_path / "checkpoint" / "model.json").read_text())
    done = (tmp_path / "loss.log").read_bytes().count(b"\n")
    assert 29 <= done < STEPS
    assert model["checkpoints"][-1]["state"]["step"] == done  # the last step that was done is saved
    assert f"after step {done}" in resume(data, tmp_path)
    assert outcome(tmp_path) == undisturbed


@with_bfloat16
@pytest.mark.slow
def test_a_training_in_bfloat16_that_is_stopped_and_resumed_ends_as_one_that_is_not(undisturbed, data, tmp_path, cpu):
    flag = "--convert_dtype=bfloat16"
    (tmp_path / "whole").mkdir()
    run_here(data, tmp_path / "whole", flag)
    (tmp_path / "stopped").mkdir()
    process = start_and_wait_for(29, tmp_path / "stopped", data, flag)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    resume(data, tmp_path / "stopped", flag)
    expected = outcome(tmp_path / "whole")
    assert outcome(tmp_path / "stopped") == expected
    for float32, bfloat16 in zip(undisturbed[3], expected[3]):
        assert float32["valid"]["auc"] == pytest.approx(bfloat16["valid"]["auc"], abs=0.03)
    assert undisturbed[0] != expected[0]


@pytest.mark.slow
def test_resume_takes_the_checkpoint_before_a_damaged_one_and_says_so(undisturbed, data, tmp_path):
    process = start_and_wait_for(40, tmp_path, data)
    process.kill()
    process.communicate()
    folder = tmp_path / "checkpoint"
    last = folder / json.loads((folder / "model.json").read_text())["checkpoints"][-1]["file"]
    last.chmod(0o600)
    last.write_bytes(last.read_bytes()[:-100])
    (folder / "deepfm-9_9.ckpt.tmp").write_bytes(b"torn")
    lines = resume(data, tmp_path).splitlines()
    note = next(number for number, line in enumerate(lines) if f"note: checkpoint/{last.name} is damaged" in line)
    assert lines[note].endswith("resuming from the one before it")
    assert lines[note + 1].startswith("resuming from checkpoint/deepfm-")
    assert outcome(tmp_path) == undisturbed
    assert not (folder / "deepfm-9_9.ckpt.tmp").exists()


def test_resume_of_a_finished_run_changes_nothing(finished_run, undisturbed, data, tmp_path):
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    run_here(data, tmp_path, "--resume=True")
    assert outcome(tmp_path) == undisturbed


def test_resume_with_more_epochs_adds_them(finished_run, data, tmp_path, capsys):
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    run_here(data, tmp_path, "--resume=True", "--train_epochs=5", "--learning_rate=0.02")
    assert "note: --learning_rate=0.02 from here on; it was 0.01" in capsys.readouterr().out
    assert (tmp_path / "loss.log").read_text().count(" epoch: 5 ") == 24


@pytest.mark.slow
def test_a_run_that_starts_from_a_checkpoint_of_another_and_is_resumed_ends_as_that_one(
    finished_run, undisturbed, data, tmp_path
):
    model = json.loads((finished_run / "checkpoint" / "model.json").read_text())
    middle = model["checkpoints"][0]
    assert middle["state"]["step"] < STEPS - 8
    flags = (f"--checkpoint_path={finished_run / 'checkpoint' / middle['file']}",)
    process = start_and_wait_for(3, tmp_path, data, *flags)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert f"{middle['file']}, after step {middle['state']['step']}" in output
    finished = subprocess.run(
        command(data, *flags, "--resume=True"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "resuming from checkpoint/deepfm-" in finished.stdout
    checkpoints, losses, _, *records, _ = outcome(tmp_path)
    all_checkpoints, all_losses, _, *all_records, _ = undisturbed
    last = f"deepfm-4_{STEPS // 4}.ckpt"
    assert checkpoints[last] == all_checkpoints[last]
    assert losses == all_losses[middle["state"]["step"] :]
    assert records == all_records


@pytest.mark.slow
def test_resume_is_refused_where_it_would_not_be_the_same_run(finished_run, data, tmp_path, run):
    assert_refused(run(*command(data, "--resume=True")[1:], cwd=tmp_path), "model.json is missing")
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    for flag, message in (
        ("--batch_size=400", "--batch_size=400: the run in checkpoint has 200"),
        ("--hidden_sizes=16", "the run in checkpoint has [16, 8]"),
        ("--seed=5", "--seed=5: the run in checkpoint has 1"),
    ):
        assert_refused(run(*command(data, "--resume=True", flag)[1:], cwd=tmp_path), message)
    for path in (tmp_path / "checkpoint").glob("*.ckpt"):
        path.unlink()
    assert_refused(run(*command(data, "--resume=True")[1:], cwd=tmp_path), "holds no intact checkpoint")


@pytest.mark.slow
def test_a_full_disk_of_the_logs_ends_in_one_line_and_resume_ends_as_the_undisturbed_run(undisturbed, data, tmp_path):
    # Two pages of 4 KiB: one for the scores, one for the first 70 lines or so of the losses.
    script = f"""
        set -e
        cd {tmp_path}
        mkdir logs
        mount -t tmpfs -o size=8k tmpfs logs
        if "$@" 2> err; then exit 9; fi
        mount -o remount,size=1m logs
        "$@" --resume=True
        cp logs/*.log .
    """
    flags = ("--loss_file_name=logs/loss.log", "--eval_file_name=logs/auc.log")
    finished = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script, "bash", *command(data, *flags)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = (tmp_path / "err").read_text().splitlines()
    assert finished.returncode == 0, finished.stderr + str(errors)
    assert len(errors) == 1
    assert re.fullmatch(
        r"error: \[Errno 28\] No space left on device: 'logs/\w+\.log'; the last checkpoint is checkpoint/deepfm-\S+, "
        r"from which the same command with --resume=True continues",
        errors[0],
    )
    assert outcome(tmp_path) == undisturbed


@pytest.mark.slow
def test_a_log_folder_that_is_deleted_ends_in_one_line_and_resume_loses_no_step(undisturbed, data, tmp_path):
    flags = ("--loss_file_name=logs/loss.log", "--eval_file_name=logs/auc.log")
    process = subprocess.Popen(
        command(data, *flags), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "logs/loss.log").exists() or (tmp_path / "logs/loss.log").read_bytes().count(b"\n") < 7:
        time.sleep(0.002)
    shutil.rmtree(tmp_path / "logs")
    errors = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 2
    assert len(errors) == 1
    assert re.match(r"error: \[Errno 2\] No such file or directory: 'logs/\w+.log'; the last checkpoint is", errors[0])
    resumed = subprocess.run(command(data, *flags, "--resume=True"), cwd=tmp_path, capture_output=True, check=True)
    assert b"resuming from" in resumed.stdout
    for name in ("loss.log", "auc.log"):
        (tmp_path / "logs" / name).rename(tmp_path / name)
    checkpoints, losses, looks, *rest = outcome(tmp_path)
    all_checkpoints, all_losses, all_looks, *all_rest = undisturbed
    assert (checkpoints, rest) == (all_checkpoints, all_rest)
    assert losses == all_losses[len(all_losses) - len(losses) :]  # from the step on that could not be logged
    assert looks == all_looks[len(all_looks) - len(looks) :]


# Where a run is killed: the n-th call of one of the functions through which training writes.
KILLED = """
import os, sys
import train, src.checkpoint, src.callback, src.common.errors
target = int(os.environ["KILL_AT"])
calls = 0

def killing(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == target:
            os.kill(os.getpid(), 9)
        return function(*arguments, **options)
    return call

for module in (src.checkpoint, sys.modules["src.training.run_record"]):
    module.write_json = killing(module.write_json)
src.callback.append_line = killing(src.callback.append_line)
src.checkpoint._save_parameters = killing(src.checkpoint._save_parameters)
src.checkpoint.ModelFolder._remove_unlisted = killing(src.checkpoint.ModelFolder._remove_unlisted)
src.common.errors.run_main(train.main)
"""
SHORT = ("--train_epochs=1", "--eval_every_steps=12", "--log_every=6", "--save_checkpoint_steps=6",
         "--keep_checkpoint_max=1")  # fmt: skip
# Of such a run: 4 lines of losses, 4 checkpoints with 4 writes each, and 2 validations with a line and 3 writes each.
WRITES = 4 + 4 * 4 + 2 * 4
FIRST, LAST = 6, 15  # from the line of step 12, over its checkpoint and its validation, to the line of step 18


@pytest.fixture(scope="module")
def short_run(tmp_path_factory, data, cpu):
    folder = tmp_path_factory.mktemp("short")
    run_here(data, folder, *SHORT)
    return outcome(folder)


def start_killed(folder, data, number):
    line = [sys.executable, "-c", KILLED, *command(data, *SHORT)[2:]]
    environment = {**os.environ, "KILL_AT": str(number), "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("number", range(FIRST, LAST + 1))
def test_killed_before_any_write_resume_ends_as_the_undisturbed_run(short_run, data, tmp_path, number):
    assert start_killed(tmp_path, data, number) == -signal.SIGKILL
    is_saved = (tmp_path / "checkpoint" / "model.json").exists()
    flag = "--resume=True" if is_saved else "--overwrite=True"
    if not is_saved:
        (tmp_path / "loss.log").unlink(missing_ok=True)
    run_here(data, tmp_path, *SHORT, flag)
    assert outcome(tmp_path) == short_run
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir() if path.suffix != ".ckpt") == [
        "model.json", "probe_rows.npz", "raw_rows.json", "run.json", "vocabulary.tsv",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_writes_of_a_run_are_as_many_as_they_should_be(data, tmp_path):
    for name, number, status in (("a", WRITES, -signal.SIGKILL), ("b", WRITES + 1, 0)):
        (tmp_path / name).mkdir()
        assert start_killed(tmp_path / name, data, number) == status
