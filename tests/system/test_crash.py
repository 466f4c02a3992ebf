# SPDX-License-Identifier: Apache-2.0
"""Preprocessing that is killed, that runs out of disk space, or that another run disturbs."""

import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from src.common.errors import UserError
from src.criteo_like import write_rows
from src.dataset_meta import DatasetMeta
from src.preprocessing.spill import JOURNAL_NAME
from tests.conftest import ROOT
from tests.processes import assert_refused
from tests.raw_data import digests

# A small memory limit makes small chunks, so that a killed run has some to resume from.
FLAGS = ("--threshold=5", "--line_per_sample=100", "--train_line_count=0", "--memory_limit=0.02")


def command(work, *flags):
    return [sys.executable, str(ROOT / "src" / "preprocess_data.py"), f"--data_path={work}", *FLAGS, *flags]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return a folder with 60,000 rows and their result, and the seconds that it took."""
    work = tmp_path_factory.mktemp("undisturbed")
    write_rows(work / "train.txt", 60_000, seed=3)
    start = time.monotonic()
    subprocess.run(command(work), check=True, capture_output=True)
    return work, time.monotonic() - start


@pytest.fixture
def work(undisturbed, tmp_path):
    """A folder with the same rows, by a link that keeps their identity."""
    os.link(undisturbed[0] / "train.txt", tmp_path / "train.txt")
    return tmp_path


def kill_when(condition, work, *flags):
    """Start preprocessing, kill it as soon as condition(folder of the unfinished result) holds, return its stdout."""
    process = subprocess.Popen(command(work, *flags), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    while process.poll() is None and not condition(work / "mindrecord.partial"):
        time.sleep(0.005)
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, "it has ended before the condition held"
    return output


def has_parsed_chunks(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob(JOURNAL_NAME)) >= 3


def has_begun_shards(folder):
    return any(folder.rglob("*.mindrecord*"))


@pytest.mark.parametrize(
    "flags", [(), pytest.param(("--split=time", "--negative_keep_rate=0.5"), marks=pytest.mark.slow)]
)
def test_a_killed_run_is_refused_by_training_and_resumes_to_the_same_bytes(undisturbed, work, tmp_path_factory, flags):
    expected = undisturbed[0] / "mindrecord"
    if flags:
        expected = tmp_path_factory.mktemp("expected") / "mindrecord"
        subprocess.run(command(work, *flags, f"--output_dir={expected}"), capture_output=True, check=True)
    outputs = []
    for condition in (has_parsed_chunks, has_begun_shards):
        outputs.append(kill_when(condition, work, *flags))
        with pytest.raises(UserError, match=r"is not finished.*run src/preprocess_data\.py again to resume"):
            DatasetMeta.load(work / "mindrecord")
    outputs.append(subprocess.run(command(work, *flags), capture_output=True, text=True, check=True).stdout)
    assert ["some of it by an earlier run" in output for output in outputs] == [False, True, True]
    assert digests(work / "mindrecord") == digests(expected)
    assert sorted(path.name for path in work.iterdir()) == ["mindrecord", "train.txt"]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(undisturbed, work):
    expected, seconds = undisturbed
    dice, kills = random.Random(25), 12
    for kill in range(kills):
        process = subprocess.Popen(command(work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # One kill in each of as many equal parts of the run, so that some come before the rows are encoded.
        time.sleep((0.2 + 0.8 * (kill + dice.random()) / kills) * seconds)
        process.kill()
        process.wait()
        if (work / "mindrecord").exists():
            assert digests(work / "mindrecord") == digests(expected / "mindrecord")
            shutil.rmtree(work / "mindrecord")
    subprocess.run(command(work), capture_output=True, check=True)
    assert digests(work / "mindrecord") == digests(expected / "mindrecord")
    assert sorted(path.name for path in work.iterdir()) == ["mindrecord", "train.txt"]


def test_a_file_that_cannot_grow_ends_in_one_line_and_the_next_run_resumes(undisturbed, work):
    expected, _ = undisturbed

    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    finished = subprocess.run(
        command(work), capture_output=True, text=True, check=False, preexec_fn=limit_file_size, timeout=100
    )
    assert_refused(finished, "The work so far is kept in", "run the same command again to resume, or delete it")
    assert not (work / "mindrecord").exists()
    subprocess.run(command(work), check=True, capture_output=True)
    assert digests(work / "mindrecord") == digests(expected / "mindrecord")


@pytest.mark.parametrize("free", ["5m", "17m"])  # not enough for the spill; enough for it, but not for the shards
def test_a_full_disk_ends_in_one_line_and_the_next_run_resumes(undisturbed, tmp_path, free):
    expected, _ = undisturbed
    rows = (expected / "train.txt").stat().st_size
    script = f"""
        set -e
        mount -t tmpfs -o size=$(({rows} + ${{1%m}} * 1000000)) tmpfs {tmp_path}
        cp --preserve=timestamps {expected}/train.txt {tmp_path}
        shift
        if "$@" 2> {tmp_path}.err; then exit 9; fi
        test ! -e {tmp_path}/mindrecord
        mount -o remount,size=1g {tmp_path}
        "$@" > /dev/null
        cd {tmp_path}/mindrecord
        sha256sum *
    """
    finished = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script, "bash", free, *command(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    errors = pathlib.Path(f"{tmp_path}.err").read_text().splitlines()
    assert len(errors) == 1
    assert re.search("No space left|is the disk full", errors[0])
    assert "run the same command again to resume" in errors[0]
    got = dict(reversed(line.split()) for line in finished.stdout.splitlines() if re.match("[0-9a-f]{64} ", line))
    assert got == digests(expected / "mindrecord")


def test_a_folder_without_write_permission_ends_in_one_line(undisturbed, work):
    work.chmod(0o555)
    # Without the rights of root, even if root runs the tests.
    finished = subprocess.run(["unshare", "--user", *command(work)], capture_output=True, text=True, check=False)
    work.chmod(0o755)
    assert_refused(finished, "Permission denied", str(work))
    assert [path.name for path in work.iterdir()] == ["train.txt"]


def test_the_second_of_two_runs_at_once_is_refused(work):
    first = subprocess.Popen(command(work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (work / "mindrecord.partial").exists():
        time.sleep(0.01)
    second = subprocess.run(command(work), capture_output=True, text=True, check=False)
    assert first.wait() == 0
    assert_refused(second, f"another run is preprocessing {work}")
