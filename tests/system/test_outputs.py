# SPDX-License-Identifier: Apache-2.0
"""Outputs that are missing or cannot be written, two trainings at once, and too little memory, as a user meets them."""

import hashlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import eval as eval_script
import export
import preprocess
import train
from src.common.errors import UserError
from tests.conftest import ROOT, make_rows
from tests.processes import assert_refused
from tests.training import run_train

TRAIN = ("--batch_size=100", "--embedding_size=2", "--hidden_sizes=4", "--device_target=CPU", "--train_epochs=1",
         "--log_every=1")  # fmt: skip


def files_in(folder):
    """Return the digests of all files below a folder, by path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def work(dataset, tmp_path_factory, cpu):
    """A folder in which a training was told to write to folders that were missing."""
    work = tmp_path_factory.mktemp("outputs")
    flags = ("--ckpt_path=a/b/checkpoint", "--loss_file_name=c/d/loss.log", "--eval_file_name=e/f/auc.log",
             "--report_path=g/h/report.html", "--tensorboard_dir=i/j")  # fmt: skip
    run_train(work, f"--dataset_path={dataset}", *TRAIN, *flags)
    return work


def test_training_makes_the_folders_of_all_its_outputs(work):
    files = sorted(files_in(work))
    assert [name for name in files if not name.startswith("i/j/events")] == [
        "a/b/checkpoint/deepfm-1_10.ckpt", "a/b/checkpoint/model.json", "a/b/checkpoint/probe_rows.npz",
        "a/b/checkpoint/raw_rows.json", "a/b/checkpoint/run.json", "a/b/checkpoint/vocabulary.tsv", "c/d/loss.log",
        "e/f/auc.log", "g/h/report.html",
    ]  # fmt: skip
    assert len(files) == 10


def test_evaluation_and_export_make_theirs(work, dataset, monkeypatch):
    monkeypatch.chdir(work)
    flags = (f"--dataset_path={dataset}", "--batch_size=100", "--device_target=CPU")
    outputs = ("--eval_file_name=k/auc.log", "--report_path=l/m/report.html")
    eval_script.main([*flags, "--checkpoint_path=a/b/checkpoint", *outputs])
    export.main([*flags, "--ckpt_file=a/b/checkpoint", "--file_name=n/o/deepfm"])
    for name in ("k/auc.log", "l/m/report.html", "n/o/deepfm.mindir"):
        assert (work / name).is_file()


@pytest.mark.parametrize(
    ("script", "flag"),
    [
        (train, "tensorboard_dir"),
        (train, "loss_file_name"),
        (train, "eval_file_name"),
        (train, "report_path"),
        (eval_script, "report_path"),
        (eval_script, "eval_file_name"),
        (export, "file_name"),
        (preprocess, "result_path"),
    ],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_an_output_that_cannot_be_written_is_named_before_the_work(
    work, dataset, tmp_path, monkeypatch, capsys, script, flag
):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    checkpoint = work / "a/b/checkpoint"
    inputs = [] if script is train else [f"--checkpoint_path={checkpoint}", f"--ckpt_file={checkpoint}"]
    pattern = f"^--{flag}=file/x.* cannot be written: .*file: is a file, a folder is wanted"
    with pytest.raises(UserError, match=pattern):
        script.main([f"--dataset_path={dataset}", *TRAIN, *inputs, f"--{flag}=file/x"])
    assert sorted(files_in(tmp_path)) == ["file"]
    assert "epoch" not in capsys.readouterr().out


@pytest.mark.slow
def test_of_two_trainings_the_second_changes_nothing_and_the_folder_can_be_evaluated(dataset, run, tmp_path):
    command = [sys.executable, str(ROOT / "train.py"), f"--dataset_path={dataset}", *TRAIN, "--report_path=none"]
    first = subprocess.Popen([*command, "--train_epochs=100000"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        while not (tmp_path / "checkpoint" / "model.json").exists():
            assert first.poll() is None
            time.sleep(0.05)
        for flags, message in (
            (["--overwrite=True"], "another training is writing to ./checkpoint; wait for it"),
            (["--resume=True"], "another training is writing to ./checkpoint; wait for it"),
            (["--ckpt_path=other/checkpoint"], "another training is writing to ./loss.log; wait for it"),
        ):
            assert_refused(run(*command[1:], *flags, cwd=tmp_path), message)
        flags = (f"--dataset_path={dataset}", "--batch_size=100", "--device_target=CPU", "--report_path=none")
        evaluated = run(ROOT / "eval.py", *flags, "--eval_file_name=test.log", cwd=tmp_path)
        assert evaluated.returncode == 0, evaluated.stderr
        assert first.poll() is None
        epochs = len((tmp_path / "auc.log").read_text().splitlines())
    finally:
        first.kill()
        first.wait()
    lines = [line.split(" ", 2)[2] for line in (tmp_path / "auc.log").read_text().splitlines()]
    assert len(lines) >= epochs
    assert [line.split()[1] for line in lines] == [str(epoch) for epoch in range(1, len(lines) + 1)]
    assert not (tmp_path / "other").exists()
    resumed = run(*command[1:], "--resume=True", cwd=tmp_path)  # a killed run holds no lock
    assert resumed.returncode == 0, resumed.stderr


def test_a_network_that_cannot_fit_is_refused_within_seconds(make_dataset, run, tmp_path):
    rows = make_rows(600, 3, 0, seed=1).splitlines()
    content = "\n".join(f"{row}\t{number % 3 * 715827882}\t7\t1\t2" for number, row in enumerate(rows))
    folder = make_dataset("--skip_id_convert=1", "--device_target=Ascend", content=content)
    start = time.monotonic()
    finished = run(ROOT / "train.py", f"--dataset_path={folder}", *TRAIN, "--report_path=none", cwd=tmp_path)
    assert_refused(finished, "GiB for training (table of ", "so they look hashed: preprocess with --skip_id_convert=0")
    assert time.monotonic() - start < 60  # it took 48 s to fail before; here others use the processors, too
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_process_of_a_training_is_told_why_the_first_one_cannot_write(dataset, tmp_path):
    (tmp_path / "file").touch()
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    finished = subprocess.run(
        ["msrun", "--worker_num=2", "--local_worker_num=2", "--join=True", "--log_dir=logs", "--master_port=8171",
         str(ROOT / "train.py"), f"--dataset_path={dataset}", *TRAIN, "--ckpt_path=file"],
        cwd=tmp_path, env=environment, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert finished.returncode != 0
    for rank in range(2):
        lines = (tmp_path / "logs" / f"worker_{rank}.log").read_text().splitlines()
        assert "error: --ckpt_path=file cannot be written: is a file, a folder is wanted; name another path" in lines


STREAMS = [">&-", "2>&-", "<&- >&- 2>&-", "2> /dev/null | true", "2>&1 | head -n 1", "> /dev/full"]
MINIMAL = {"PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}  # no HOME, no LANG


def run_with(streams, folder, *command):
    """Run a command in a shell with the redirections `streams`, in a folder of its own; return the exit status."""
    folder.mkdir()
    line = f'"$@" {streams}; exit "${{PIPESTATUS[0]}}"'
    finished = subprocess.run(
        ["bash", "-c", line, "bash", *map(str, command)], cwd=folder, env=MINIMAL, capture_output=True, check=False
    )
    assert b"Traceback" not in finished.stderr + finished.stdout
    assert b"Exception ignored" not in finished.stderr + finished.stdout
    return finished.returncode


def without_times(folder):
    """Return the digests of the files of a training, and its logs without times."""
    logs = {
        name: [line.split(" ", 2)[2].split(", eval_time")[0] for line in (folder / name).read_text().splitlines()]
        for name in ("loss.log", "auc.log")
    }
    return logs, {name: digest for name, digest in files_in(folder).items() if name.endswith((".ckpt", "model.json"))}


@pytest.mark.parametrize(
    "streams", [STREAMS[2], *(pytest.param(each, marks=pytest.mark.slow) for each in STREAMS if each != STREAMS[2])]
)
def test_preprocessing_writes_the_same_files_whatever_the_streams_are(dataset, tmp_path, streams):
    out = tmp_path / "out"
    flags = ("--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50", "--train_line_count=0")
    command = (sys.executable, ROOT / "src" / "preprocess_data.py", f"--data_path={dataset.parent}", *flags)
    assert run_with(streams, tmp_path / "work", *command, f"--output_dir={out}") == 0
    assert files_in(out) == files_in(dataset)


@pytest.mark.slow
def test_training_writes_the_same_files_whatever_the_streams_are(dataset, tmp_path):
    command = (sys.executable, ROOT / "train.py", f"--dataset_path={dataset}", *TRAIN, "--report_path=none")
    assert run_with("", tmp_path / "plain", *command) == 0
    expected = without_times(tmp_path / "plain")
    script = ROOT / "scripts" / "run_standalone_train.sh"  # which redirects the streams of train.py to a file
    by_script = ("env", "WAIT=1", "bash", script, "0", "CPU", dataset, *TRAIN, "--report_path=none")
    for number, (streams, started) in enumerate(
        [*((streams, command) for streams in STREAMS), (STREAMS[-1], by_script)]
    ):
        assert run_with(streams, tmp_path / str(number), *started) == 0, streams
        assert without_times(tmp_path / str(number)) == expected, streams


@pytest.mark.parametrize("streams", ["", *STREAMS])
def test_the_score_of_the_runner_s_files_is_printed_or_its_loss_is_an_error(tmp_path, streams):
    labels, results = tmp_path / "02_labels", tmp_path / "results"
    for folder, values in ((labels, [0, 1, 1, 0]), (results, [0.1, 0.9, 0.4, 0.4])):
        folder.mkdir()
        np.array(values, np.float32).tofile(folder / "a.bin")
    (tmp_path / "manifest.json").write_text(json.dumps({"files": [{"name": "a.bin", "rows": 4}]}))
    command = (sys.executable, ROOT / "postprocess.py", f"--result_path={results}", f"--label_path={labels}")
    status = run_with(f"{streams or '> auc.txt'}", tmp_path / "work", *command)
    assert status == (2 if streams == "> /dev/full" else 0)
    if not streams:  # of four pairs of a click and another row three are in order and one is a tie
        assert (tmp_path / "work" / "auc.txt").read_text() == "auc : 0.875\n"
