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

import train
from src.common.errors import UserError
from src.modelarts.object_store import open_store
from src.modelarts.transfer import upload
from tests.conftest import ROOT
from tests.file_trees import read_files, write_zip
from tests.s3_server import KEY, SECRET, for_a_while, wait_until
from tests.training import run_train

MODEL = ("--device_target=CPU", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=16,8", "--train_epochs=3",
         "--learning_rate=0.01", "--log_every=1", "--save_checkpoint_steps=10", "--eval_every_steps=12",
         "--keep_checkpoint_max=2", "--report_path=none")  # fmt: skip
RAW = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")


@pytest.fixture(scope="module")
def reference(data, tmp_path_factory, cpu):
    """Return the folder of a training that is no job."""
    folder = tmp_path_factory.mktemp("reference")
    run_train(folder, f"--dataset_path={data}", *MODEL)
    return folder


@pytest.fixture(scope="module")
def reference_metrics(data, reference, run, tmp_path_factory):
    """Return the metrics that eval.py prints for that training."""
    flags = (f"--dataset_path={data}", f"--checkpoint_path={reference / 'checkpoint'}", *MODEL)
    return metrics_in(run(ROOT / "eval.py", *flags, cwd=tmp_path_factory.mktemp("evaluated")).stdout)


@pytest.fixture
def cache(tmp_path):
    """Return the flags that move the local folders of a job into a folder of the test."""
    return tuple(
        f"--{key}={tmp_path / 'cache' / name}"
        for key, name in [("data_path", "data"), ("output_path", "train"), ("load_path", "checkpoint")]
    )


def put(bucket, data, kind):
    """Upload the data to the bucket, as MindRecord, .zip or raw rows; return their address."""
    store, url = open_store(os.environ), f"{bucket}/data"
    if kind == "raw":
        upload(store, data.parent, ["train.txt"], url)
    elif kind == "zip":
        upload(store, write_zip(data.parent / "data.zip", read_files(data)).parent, ["data.zip"], url)
    else:
        upload(store, data, list(read_files(data)), url)
    return url


def job(script, *flags, cache=(), environment=None):
    """Return the command line and the options of a job."""
    line = [sys.executable, str(ROOT / script), "--enable_modelarts=True", *RAW, *MODEL, *cache, *flags]
    return line, {"env": os.environ | (environment or {}), "text": True}


def finish(script, *flags, **options):
    """Run a job to its end; return the finished process."""
    line, options = job(script, *flags, **options)
    return subprocess.run(line, capture_output=True, timeout=200, check=False, **options)


def start(script, *flags, **options):
    line, options = job(script, *flags, **options)
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def kill(process):
    process.kill()
    process.wait()


def download(url, folder):
    """Download all files at an address to a folder; return their contents by name."""
    store = open_store(os.environ)
    for name in store.list(url):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        store.get(f"{url}/{name}", folder / name)
    return read_files(folder)


def check_equals(folder, reference):
    """Check that a folder of results has the checkpoints, byte for byte, and the log lines of the reference."""
    checkpoints = {name: content for name, content in read_files(reference).items() if name.endswith(".ckpt")}
    assert len(checkpoints) > 1
    assert {name: content for name, content in read_files(folder).items() if name.endswith(".ckpt")} == checkpoints
    for log in ("loss.log", "auc.log"):
        actual, expected = ([line.split(" ", 2)[2].split(", eval_time")[0] for line in (parent / log).open()]
                            for parent in (folder, reference))  # fmt: skip
        assert actual == expected


def metrics_in(text):
    """Return the metrics that eval.py has printed, without the time."""
    return re.sub(r", 'eval_time.*", "", re.search(r"\{'result.*", text)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mindrecord", "zip"])
def test_a_train_job_gives_the_results_of_a_local_run(bucket, data, reference, tmp_path, cache, kind):
    out = f"{bucket}/out"
    trained = finish("train.py", f"--data_url={put(bucket, data, kind)}", f"--train_url={out}", cache=cache)
    assert trained.returncode == 0, trained.stderr
    download(out, tmp_path / "downloaded")
    check_equals(tmp_path / "downloaded", reference)


@pytest.mark.slow
def test_train_eval_and_export_jobs_on_raw_rows_give_the_results_of_local_runs_although_the_store_fails(
    s3_server, bucket, data, reference, reference_metrics, tmp_path, cache
):
    url, out = put(bucket, data, "raw"), f"{bucket}/out"
    rules = [for_a_while("500 InternalError", 4), for_a_while("drop", 2, "GET"), for_a_while("503 SlowDown", 3, "PUT")]
    with s3_server.failing(lambda *request: next(filter(None, (rule(*request) for rule in rules)), None)):
        trained = finish("train.py", f"--data_url={url}", f"--train_url={out}", "--flag_of_the_platform=1", cache=cache)
    assert trained.returncode == 0, trained.stderr
    assert "ignored, not settings of this script: --flag_of_the_platform\n" in trained.stdout
    assert all(rule("PUT", "/") is None and rule("GET", "/") is None for rule in rules)
    contents = download(out, tmp_path / "downloaded")
    check_equals(tmp_path / "downloaded", reference)
    at_checkpoint = f"--checkpoint_url={out}"
    evaluated = finish("eval.py", f"--data_url={url}", f"--train_url={out}", at_checkpoint, cache=cache)
    assert evaluated.returncode == 0, evaluated.stderr
    assert metrics_in(evaluated.stdout) == reference_metrics
    exported = finish("export.py", f"--data_url={url}", f"--train_url={out}", at_checkpoint, cache=cache)
    assert exported.returncode == 0, exported.stderr
    contents = download(out, tmp_path / "downloaded")
    assert contents["auc.log"].count(b" test AUC: ") == 1
    assert contents["auc.log"].count(b" valid AUC: ") == contents["loss.log"].count(b"\n") // 12
    assert contents["deepfm.mindir"] == (tmp_path / "cache" / "train" / "deepfm.mindir").read_bytes()
    everything = b"".join(contents.values()) + (trained.stdout + trained.stderr + evaluated.stdout).encode()
    assert KEY.encode() not in everything
    assert SECRET.encode() not in everything


@pytest.mark.slow
def test_training_continues_while_the_store_is_unreachable_for_20_seconds(
    s3_server, bucket, data, reference, tmp_path, cache
):
    url, out = put(bucket, data, "mindrecord"), f"{bucket}/out"
    process = start("train.py", f"--data_url={url}", f"--train_url={out}", cache=cache)
    wait_until(lambda: s3_server.count("PUT", "deepfm-1_10.ckpt"))
    s3_server.stop()
    time.sleep(20)
    assert process.poll() is None  # it has finished training, and waits
    assert (tmp_path / "cache" / "train" / "loss.log").read_bytes().count(b"\n") == 72
    s3_server.start()
    assert process.wait(60) == 0
    download(out, tmp_path / "downloaded")
    check_equals(tmp_path / "downloaded", reference)


@pytest.mark.slow
def test_a_job_killed_while_downloading_training_and_uploading_gives_the_same_results(
    s3_server, bucket, data, reference, tmp_path, cache
):
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
        shutil.rmtree(tmp_path / "cache" / "train")  # as on another host: only the files in the store are left
        before = s3_server.count("PUT", "model.json")
        process = start("train.py", *flags, cache=cache)
        wait_until(lambda: s3_server.count("PUT", "model.json") > before)
        kill(process)
    finished = finish("train.py", *flags, cache=cache)
    assert finished.returncode == 0, finished.stderr
    assert "resuming from" in finished.stdout
    assert s3_server.count("GET", "train.txt") == 2  # once held, once complete
    download(out, tmp_path / "downloaded")
    check_equals(tmp_path / "downloaded", reference)


@pytest.mark.slow
def test_sigterm_saves_a_checkpoint_and_uploads_it(s3_server, bucket, data, reference, tmp_path, cache):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out")
    process = start("train.py", *flags, "--learning_rate=0.02", cache=cache)
    wait_until(lambda: s3_server.count("PUT", "model.json"))
    process.terminate()
    assert process.wait(60) == 143
    model = json.loads(download(f"{bucket}/out", tmp_path / "downloaded")["checkpoint/model.json"])
    lines = (tmp_path / "downloaded" / "loss.log").read_text().count("\n")
    assert 10 <= model["checkpoints"][-1]["state"]["step"] == lines < 72


def test_refused_credentials_end_the_job_at_once_in_one_line(bucket, cache, monkeypatch):
    monkeypatch.setenv("OBS_ACCESS_KEY_ID", "stolen-key")
    flags = (f"--data_url={bucket}/data", f"--train_url={bucket}/out")
    with pytest.raises(UserError, match=r"^obs://.*: the store refuses the credentials: ") as refused:
        train.main(["--enable_modelarts=True", *RAW, *MODEL, *cache, *flags])
    assert "stolen-key" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_failed_training_uploads_its_logs(bucket, data, tmp_path, cache, cpu):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out", "--learning_rate=1e30")
    with pytest.raises(UserError, match="the loss is"):
        train.main(["--enable_modelarts=True", *RAW, *MODEL, *cache, *flags])
    assert b"loss is" in download(f"{bucket}/out", tmp_path / "downloaded")["loss.log"]


@pytest.mark.slow
def test_a_full_store_does_not_stop_training_and_the_next_start_uploads(
    s3_server, bucket, data, reference, tmp_path, cache
):
    flags = (f"--data_url={put(bucket, data, 'mindrecord')}", f"--train_url={bucket}/out")
    program = "import src.modelarts.job, train, src.common.errors; src.modelarts.job.PATIENCE_SECONDS = 2; " \
              "src.common.errors.run_main(train.main)"  # fmt: skip
    line, options = job("train.py", *flags, cache=cache)
    with s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")):
        finished = subprocess.run([line[0], "-c", program, *line[2:]], cwd=ROOT, capture_output=True, timeout=100,
                                  check=False, **options)  # fmt: skip
    assert finished.returncode == 2
    assert re.fullmatch(
        r"error: the results in .*train have not been uploaded: .*InsufficientStorage.*\n", finished.stderr
    )
    check_equals(tmp_path / "cache" / "train", reference)
    assert finish("train.py", *flags, cache=cache).returncode == 0
    download(f"{bucket}/out", tmp_path / "downloaded")
    check_equals(tmp_path / "downloaded", reference)


@pytest.mark.slow
def test_two_ranks_download_once_and_upload_once(s3_server, bucket, data, tmp_path, cache):
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
    contents = download(f"{bucket}/out", tmp_path / "downloaded")
    best = json.loads(contents["checkpoint/model.json"])["best"]
    assert contents[f"checkpoint/{best}"] == (tmp_path / "cache" / "train" / "checkpoint" / best).read_bytes()


def test_a_job_with_local_paths_resumes_the_earlier_start(data, reference, tmp_path, cache, capsys):
    urls = (f"--data_url={data}", f"--train_url={tmp_path / 'out'}")
    flags = ("--enable_modelarts=True", *RAW, *MODEL, *cache, *urls)
    run_train(tmp_path, *flags, "--train_epochs=1")
    assert "resuming from" not in capsys.readouterr().out
    run_train(tmp_path, *flags)
    assert "resuming from" in capsys.readouterr().out
    check_equals(tmp_path / "out", reference)


@pytest.mark.slow
def test_moxing_is_used_where_it_is_installed(data, reference, tmp_path, cache):
    (tmp_path / "modules").mkdir()
    shutil.copy(ROOT / "tests" / "moxing_stand_in.py", tmp_path / "modules" / "moxing.py")
    shutil.copytree(data, tmp_path / "store" / "bucket" / "data")
    environment = {
        "PYTHONPATH": str(tmp_path / "modules"),
        "STORE": str(tmp_path / "store"),
        "CALLS": str(tmp_path / "calls"),
    }
    flags = ("--data_url=obs://bucket/data/", "--train_url=obs://bucket/out/")
    finished = finish("train.py", *flags, cache=cache, environment=environment)
    assert finished.returncode == 0, finished.stderr
    check_equals(tmp_path / "store" / "bucket" / "out", reference)
    calls = (tmp_path / "calls").read_text().splitlines()
    copied = [call.split()[1] for call in calls if call.startswith("copy obs://bucket/data/")]
    assert sorted(copied) == sorted(f"obs://bucket/data/{name}" for name in read_files(data))
    assert any(call.startswith("remove obs://bucket/out/checkpoint/deepfm-") for call in calls)
