# SPDX-License-Identifier: Apache-2.0
"""Jobs of ModelArts against a real S3 server that fails, and against a stand-in for moxing."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import pytest

from src.modelarts.object_store import open_store
from src.modelarts.transfer import send
from tests.conftest import ROOT
from tests.s3_server import KEY, SECRET, for_a_while, wait_until
from tests.unit.test_archive import pack
from tests.unit.test_transfer import content_of

MODEL = ("--device_target=CPU", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=16,8", "--train_epochs=3",
         "--learning_rate=0.01", "--log_every=1", "--save_checkpoint_steps=10", "--eval_every_steps=12",
         "--keep_checkpoint_max=2", "--report_path=none")  # fmt: skip
RAW = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")


@pytest.fixture(scope="module")
def by_hand(data, run, tmp_path_factory):
    """Return the folder of a run that is no job."""
    folder = tmp_path_factory.mktemp("by_hand")
    finished = run(ROOT / "train.py", f"--dataset_path={data}", *MODEL, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def scores_by_hand(data, by_hand, run, tmp_path_factory):
    """Return what eval.py prints of the run that is no job."""
    flags = (f"--dataset_path={data}", f"--checkpoint_path={by_hand / 'checkpoint'}", *MODEL)
    return scores_of(run(ROOT / "eval.py", *flags, cwd=tmp_path_factory.mktemp("scored")).stdout)


@pytest.fixture
def cache(tmp_path):
    """Return the flags that put what a job keeps on its machine into a folder of the test."""
    return tuple(
        f"--{key}={tmp_path / 'cache' / name}"
        for key, name in [("data_path", "data"), ("output_path", "train"), ("load_path", "checkpoint")]
    )


def put(bucket, data, kind):
    """Put the data into the bucket; return their address."""
    store, url = open_store(os.environ), f"{bucket}/data"
    if kind == "raw":
        send(store, data.parent, ["train.txt"], url)
    elif kind == "zip":
        send(store, pack(data.parent / "data.zip", content_of(data)).parent, ["data.zip"], url)
    else:
        send(store, data, list(content_of(data)), url)
    return url


def job(script, *flags, cache=(), environment=None):
    """Return the command line and the options of a job."""
    line = [sys.executable, str(ROOT / script), "--enable_modelarts=True", *RAW, *MODEL, *cache, *flags]
    return line, {"env": os.environ | (environment or {}), "text": True}


def finish(script, *flags, **options):
    """Run a job to its end; return it finished."""
    line, options = job(script, *flags, **options)
    return subprocess.run(line, capture_output=True, timeout=200, check=False, **options)


def start(script, *flags, **options):
    line, options = job(script, *flags, **options)
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def kill(process):
    process.kill()
    process.wait()


def fetched(url, folder):
    """Return what is at an address, by name, and let it lie in a folder."""
    store = open_store(os.environ)
    for name in store.list(url):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        store.get(f"{url}/{name}", folder / name)
    return content_of(folder)


def check_as_by_hand(folder, by_hand):
    """Check that a folder of results is that of the run by hand: checkpoints to the byte, logs but for the times."""
    checkpoints = {name: content for name, content in content_of(by_hand).items() if name.endswith(".ckpt")}
    assert len(checkpoints) > 1
    assert {name: content for name, content in content_of(folder).items() if name.endswith(".ckpt")} == checkpoints
    for log in ("loss.log", "auc.log"):
        ours, theirs = ([line.split(" ", 2)[2].split(", eval_time")[0] for line in (place / log).open()]
                        for place in (folder, by_hand))  # fmt: skip
        assert ours == theirs


def scores_of(text):
    """Return what eval.py prints, without the time."""
    return re.sub(r", 'eval_time.*", "", re.search(r"\{'result.*", text)[0])


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        pytest.param("mindrecord", [], marks=pytest.mark.slow),
        ("zip", []),
        ("raw", [("500 InternalError", 4), ("drop", 2, "GET"), ("503 SlowDown", 3, "PUT")]),
    ],
)
def test_three_jobs(s3_server, bucket, data, by_hand, scores_by_hand, tmp_path, cache, kind, faults):
    url, out = put(bucket, data, kind), f"{bucket}/out"
    rules = [for_a_while(*fault) for fault in faults]
    with s3_server.failing(lambda *request: next(filter(None, (rule(*request) for rule in rules)), None)):
        trained = finish("train.py", f"--data_url={url}", f"--train_url={out}", "--flag_of_the_platform=1", cache=cache)
    assert trained.returncode == 0, trained.stderr
    assert "ignored, not settings of this script: --flag_of_the_platform\n" in trained.stdout
    assert all(rule("PUT", "/") is None and rule("GET", "/") is None for rule in rules)
    contents = fetched(out, tmp_path / "fetched")
    check_as_by_hand(tmp_path / "fetched", by_hand)
    at_checkpoint = f"--checkpoint_url={out}"
    evaluated = finish("eval.py", f"--data_url={url}", f"--train_url={out}", at_checkpoint, cache=cache)
    assert evaluated.returncode == 0, evaluated.stderr
    assert scores_of(evaluated.stdout) == scores_by_hand
    exported = finish("export.py", f"--data_url={url}", f"--train_url={out}", at_checkpoint, cache=cache)
    assert exported.returncode == 0, exported.stderr
    contents = fetched(out, tmp_path / "fetched")
    assert contents["auc.log"].count(b" test AUC: ") == 1
    assert contents["auc.log"].count(b" valid AUC: ") == contents["loss.log"].count(b"\n") // 12
    assert contents["deepfm.mindir"] == (tmp_path / "cache" / "train" / "deepfm.mindir").read_bytes()
    everything = b"".join(contents.values()) + (trained.stdout + trained.stderr + evaluated.stdout).encode()
    assert KEY.encode() not in everything
    assert SECRET.encode() not in everything


@pytest.mark.slow
def test_a_store_that_is_away_for_20_seconds(s3_server, bucket, data, by_hand, tmp_path, cache):
    url, out = put(bucket, data, "mindrecord"), f"{bucket}/out"
    process = start("train.py", f"--data_url={url}", f"--train_url={out}", cache=cache)
    wait_until(lambda: s3_server.count("PUT", "deepfm-1_10.ckpt"))
    s3_server.stop()
    time.sleep(20)
    assert process.poll() is None  # it has trained on, and waits
    assert (tmp_path / "cache" / "train" / "loss.log").read_bytes().count(b"\n") == 72
    s3_server.start()
    assert process.wait(60) == 0
    fetched(out, tmp_path / "fetched")
    check_as_by_hand(tmp_path / "fetched", by_hand)


@pytest.mark.slow
def test_killed_while_downloading_training_and_uploading(s3_server, bucket, data, by_hand, tmp_path, cache):
    url, out = put(bucket, data, "raw"), f"{bucket}/out"
    flags = (f"--data_url={url}", f"--train_url={out}")
    with s3_server.failing(for_a_while("hold", 1, "GET", "train.txt")):
        process = start("train.py", *flags, cache=cache)
        wait_until(lambda: s3_server.count("GET", "train.txt"))
        time.sleep(0.2)
        kill(process)
    s3_server.released.clear()
    process = start("train.py", *flags, cache=cache)
    wait_until(lambda: s3_server.count("PUT", "model.json") > 1)
    kill(process)
    with s3_server.failing(for_a_while("hold", 1, "PUT", "model.json")):
        shutil.rmtree(tmp_path / "cache" / "train")  # as on another machine: all that is left is at the address
        before = s3_server.count("PUT", "model.json")
        process = start("train.py", *flags, cache=cache)
        wait_until(lambda: s3_server.count("PUT", "model.json") > before)
        kill(process)
    finished = finish("train.py", *flags, cache=cache)
    assert finished.returncode == 0, finished.stderr
    assert "going on from" in finished.stdout
    assert s3_server.count("GET", "train.txt") == 2  # once held, once whole
    fetched(out, tmp_path / "fetched")
    check_as_by_hand(tmp_path / "fetched", by_hand)


def test_sigterm_saves_and_sends(s3_server, bucket, data, by_hand, tmp_path, cache):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out")
    process = start("train.py", *flags, "--learning_rate=0.02", cache=cache)
    wait_until(lambda: s3_server.count("PUT", "model.json"))
    process.terminate()
    assert process.wait(60) == 143
    model = json.loads(fetched(f"{bucket}/out", tmp_path / "fetched")["checkpoint/model.json"])
    lines = (tmp_path / "fetched" / "loss.log").read_text().count("\n")
    assert 10 <= model["checkpoints"][-1]["state"]["step"] == lines < 72


def test_refused_credentials(bucket, tmp_path, cache):
    finished = finish("train.py", f"--data_url={bucket}/data", f"--train_url={bucket}/out", cache=cache,
                      environment={"OBS_ACCESS_KEY_ID": "stolen-key"})  # fmt: skip
    assert finished.returncode == 2
    assert re.fullmatch(r"error: obs://.*: the store refuses the credentials: .*\n", finished.stderr)
    assert "stolen-key" not in finished.stderr


def test_a_run_that_fails_sends_its_logs(bucket, data, tmp_path, cache):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out")
    finished = finish("train.py", *flags, "--learning_rate=1e30", cache=cache)
    assert finished.returncode == 2
    assert "the loss is" in finished.stderr
    assert b"loss is" in fetched(f"{bucket}/out", tmp_path / "fetched")["loss.log"]


def test_a_store_without_space_does_not_stop_training(s3_server, bucket, data, by_hand, tmp_path, cache):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out")
    program = "import src.modelarts.job, train, src.common.errors; src.modelarts.job.PATIENCE_SECONDS = 2; " \
              "src.common.errors.run_main(train.main)"  # fmt: skip
    line, options = job("train.py", *flags, cache=cache)
    with s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")):
        finished = subprocess.run([line[0], "-c", program, *line[2:]], cwd=ROOT, capture_output=True, timeout=100,
                                  check=False, **options)  # fmt: skip
    assert finished.returncode == 2
    assert re.fullmatch(r"error: the results in .*train have not been sent: .*InsufficientStorage.*\n", finished.stderr)
    check_as_by_hand(tmp_path / "cache" / "train", by_hand)
    assert finish("train.py", *flags, cache=cache).returncode == 0
    fetched(f"{bucket}/out", tmp_path / "fetched")
    check_as_by_hand(tmp_path / "fetched", by_hand)


@pytest.mark.slow
def test_two_ranks_by_msrun_download_once_and_send_once(s3_server, bucket, data, tmp_path, cache):
    line, options = job("train.py", f"--data_url={put(bucket, data, 'zip')}", f"--train_url={bucket}/out", cache=cache)
    binaries = pathlib.Path(sys.executable).parent
    options["env"]["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    s3_server.requests.clear()
    finished = subprocess.run(
        ["msrun", "--worker_num=2", "--local_worker_num=2", "--join=True", "--log_dir=logs", "--master_port=8143",
         *line[1:]], cwd=tmp_path, timeout=200, capture_output=True, check=False, **options,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert s3_server.count("GET", "data.zip") == 1
    contents = fetched(f"{bucket}/out", tmp_path / "fetched")
    best = json.loads(contents["checkpoint/model.json"])["best"]
    assert contents[f"checkpoint/{best}"] == (tmp_path / "cache" / "train" / "checkpoint" / best).read_bytes()


def test_folders_that_the_platform_copies(data, by_hand, tmp_path, cache):
    flags = (f"--data_url={data}", f"--train_url={tmp_path / 'out'}")
    assert finish("train.py", *flags, "--train_epochs=1", cache=cache).returncode == 0
    again = finish("train.py", *flags, cache=cache)
    assert "going on from" in again.stdout
    check_as_by_hand(tmp_path / "out", by_hand)
    exported = finish("export.py", *flags, f"--checkpoint_url={tmp_path / 'out'}", cache=cache)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "out" / "deepfm.mindir").exists()


STAND_IN = '''
"""Stands in for moxing: obs://bucket/key is a file below STORE; calls are noted in CALLS."""
import os, pathlib, shutil, types

def _path(url):
    return pathlib.Path(url.replace("obs://", os.environ["STORE"] + "/"))

def _noted(function):
    def call(*arguments, **named):
        with open(os.environ["CALLS"], "a") as calls:
            calls.write(f"{function.__name__} {' '.join(map(str, arguments))}\\n")
        return function(*arguments, **named)
    return call

@_noted
def exists(url): return _path(url).exists()
@_noted
def is_directory(url): return _path(url).is_dir()
@_noted
def get_size(url, recursive=False): return _path(url).stat().st_size
@_noted
def remove(url, recursive=False): _path(url).unlink()
@_noted
def list_directory(url, recursive=False):
    return [path.relative_to(_path(url)).as_posix() + "/" * path.is_dir() for path in _path(url).rglob("*")]
@_noted
def copy(source, target):
    _path(target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_path(source), _path(target))

file = types.SimpleNamespace(exists=exists, is_directory=is_directory, get_size=get_size, remove=remove,
                             list_directory=list_directory, copy=copy)
'''


def test_with_a_stand_in_for_moxing(data, by_hand, tmp_path, cache):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "moxing.py").write_text(STAND_IN)
    shutil.copytree(data, tmp_path / "store" / "bucket" / "data")
    environment = {
        "PYTHONPATH": str(tmp_path / "modules"),
        "STORE": str(tmp_path / "store"),
        "CALLS": str(tmp_path / "calls"),
    }
    flags = ("--data_url=obs://bucket/data/", "--train_url=obs://bucket/out/")
    finished = finish("train.py", *flags, cache=cache, environment=environment)
    assert finished.returncode == 0, finished.stderr
    check_as_by_hand(tmp_path / "store" / "bucket" / "out", by_hand)
    evaluated = finish("eval.py", *flags, "--checkpoint_url=obs://bucket/out/checkpoint", cache=cache,
                       environment=environment)  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    assert " test AUC: " in (tmp_path / "store" / "bucket" / "out" / "auc.log").read_text()
    calls = (tmp_path / "calls").read_text().splitlines()
    copied = [call.split()[1] for call in calls if call.startswith("copy obs://bucket/data/")]
    assert sorted(copied) == sorted(f"obs://bucket/data/{name}" for name in content_of(data))
    assert any(call.startswith("remove obs://bucket/out/checkpoint/deepfm-") for call in calls)
