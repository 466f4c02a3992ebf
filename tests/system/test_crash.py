# SPDX-License-Identifier: Apache-2.0
"""Preprocessing that is killed, or that the machine lets down."""

import hashlib
import os
import pathlib
import random
import re
import resource
import subprocess
import sys
import time

import pytest

from src.criteo_like import write_rows
from tests.conftest import ROOT
from tests.system.test_mistakes import check

# Small chunks, so that there is something to resume from.
FLAGS = ("--threshold=5", "--line_per_sample=100", "--train_line_count=0", "--memory_limit=0.02")


def command(work):
    return [sys.executable, str(ROOT / "src" / "preprocess_data.py"), f"--data_path={work}", *FLAGS]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


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


@pytest.mark.parametrize("kills", [5, pytest.param(25, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_result_is_the_same(undisturbed, work, run, kills):
    expected, seconds = undisturbed
    dice = random.Random(kills)
    resumed = refused = 0
    for kill in range(kills):
        process = subprocess.Popen(command(work), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        # Within each of as many equal parts of the run, so that some come before the rows are encoded.
        time.sleep((0.2 + 0.8 * (kill + dice.random()) / kills) * seconds)
        process.kill()
        resumed += "some of it by an earlier run" in process.communicate()[0]
        if (work / "mindrecord").exists():
            assert digests(work / "mindrecord") == digests(expected / "mindrecord")
            subprocess.run(["rm", "-r", str(work / "mindrecord")], check=True)
        elif (work / "mindrecord.partial").exists():
            refused += 1
    if refused and not (work / "mindrecord").exists() and (work / "mindrecord.partial").exists():
        finished = run(ROOT / "train.py", f"--dataset_path={work / 'mindrecord'}", "--device_target=CPU", cwd=work)
        check(finished, "is not finished", "run src/preprocess_data.py again to go on")
    last = subprocess.run(command(work), capture_output=True, text=True, check=True)
    assert digests(work / "mindrecord") == digests(expected / "mindrecord")
    assert sorted(path.name for path in work.iterdir()) == ["mindrecord", "train.txt"]
    assert resumed + ("some of it by an earlier run" in last.stdout) > 0
    assert refused > 0


def test_a_file_that_cannot_grow_ends_in_one_line_and_the_next_run_resumes(undisturbed, work):
    expected, _ = undisturbed

    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    finished = subprocess.run(
        command(work), capture_output=True, text=True, check=False, preexec_fn=limit_file_size, timeout=100
    )
    check(finished, "The work so far is kept in", "run the same command again to resume, or delete it")
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


def test_a_folder_that_may_not_be_written_ends_in_one_line(undisturbed, work):
    work.chmod(0o555)
    # Without the rights of root, whoever runs the tests.
    finished = subprocess.run(["unshare", "--user", *command(work)], capture_output=True, text=True, check=False)
    work.chmod(0o755)
    check(finished, "Permission denied", str(work))
    assert [path.name for path in work.iterdir()] == ["train.txt"]


def test_two_runs_at_once_the_second_stops(work):
    first = subprocess.Popen(command(work), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (work / "mindrecord.partial").exists():
        time.sleep(0.01)
    second = subprocess.run(command(work), capture_output=True, text=True, check=False)
    assert first.wait() == 0
    check(second, f"another run is preprocessing {work}")
