# SPDX-License-Identifier: Apache-2.0
"""What a job does around the script, without the script."""

import os
import pathlib

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.modelarts.job import open_job
from src.modelarts.object_store import open_store
from src.modelarts.transfer import send
from tests.unit.test_inputs import MINDRECORD, write

RESULTS = ("ckpt_path", "loss_file_name")


@pytest.fixture
def settings(bucket, tmp_path):
    """Return a function from flags to the settings of a job whose data are in the bucket."""
    write(tmp_path / "origin", MINDRECORD)
    send(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/data")
    folders = [f"--{key}={tmp_path / key}" for key in ("data_path", "output_path", "load_path")]
    urls = [f"--data_url={bucket}/data", f"--train_url={bucket}/out"]
    return lambda *flags: load_config(["--enable_modelarts=True", *urls, *folders, *flags])


def run_job(config):
    with open_job(config, RESULTS, "checkpoint_path", None) as job:
        pathlib.Path(job.config.loss_file_name).write_text("a line\n")
        job.publish()
    return job.config


@pytest.mark.parametrize("rank", [0, 1, 7])
def test_of_the_processes_of_the_platform_the_first_one_sends(settings, bucket, monkeypatch, rank):
    environment = {"RANK_TABLE_FILE": "/user/config/jobstart_hccl.json", "RANK_SIZE": "8", "RANK_ID": str(rank)}
    for name, value in (environment | {"ASCEND_DEVICE_ID": str(rank)}).items():
        monkeypatch.setenv(name, value)
    run_job(settings())
    assert list(open_store(os.environ).list(f"{bucket}/out")) == (["loss.log"] if rank == 0 else [])


def test_the_settings_get_paths_of_this_machine(settings, tmp_path):
    config = run_job(settings("--ckpt_path=./models/mine"))
    assert pathlib.Path(config.dataset_path) == tmp_path / "data_path" / "downloaded"
    assert pathlib.Path(config.ckpt_path) == tmp_path / "output_path" / "models" / "mine"
    assert not config.resume
    write(tmp_path / "output_path" / "models" / "mine", {"model.json": b"{}"})
    (tmp_path / "output_path" / ".unsent").write_text(config.train_url)
    assert run_job(settings("--ckpt_path=./models/mine")).resume


def test_without_the_switch_nothing_changes():
    config = load_config(["--data_url=obs://bucket/data"])
    with open_job(config, RESULTS, "checkpoint_path", None) as job:
        assert job.config is config
        job.publish()


@pytest.mark.parametrize(("place", "at"), [("", ""), ("checkpoint/", ""), ("", "/deepfm-2_9.ckpt")])
def test_a_checkpoint_is_found_and_comes_with_its_index(settings, bucket, tmp_path, place, at):
    beside = ("model.json", "run.json", "probe_rows.npz")
    files = {f"{place}{name}": name.encode() for name in (*beside, "deepfm-1_9.ckpt", "deepfm-2_9.ckpt")}
    write(tmp_path / "run", files)
    send(open_store(os.environ), tmp_path / "run", list(files), f"{bucket}/run")
    config = run_job(settings(f"--checkpoint_url={bucket}/run{at}"))
    path = pathlib.Path(config.checkpoint_path)
    assert path == tmp_path / "load_path" / place / at.strip("/")
    folder = path.parent if at else path
    names = {*beside, "deepfm-2_9.ckpt"} | (set() if at else {"deepfm-1_9.ckpt"})
    assert {found.name for found in folder.iterdir()} == names


def test_a_script_that_needs_no_data_runs_with_a_checkpoint_alone(settings, bucket, tmp_path):
    write(tmp_path / "run", {"model.json": b"{}"})
    send(open_store(os.environ), tmp_path / "run", ["model.json"], f"{bucket}/run")
    config = settings("--data_url=none", f"--checkpoint_url={bucket}/run", "--ckpt_path=models")
    with open_job(config, RESULTS, "ckpt_file", None, needs_data=False) as job:
        assert job.config.dataset_path == config.dataset_path
        assert pathlib.Path(job.config.ckpt_file) == tmp_path / "load_path"
    assert not (tmp_path / "data_path" / "downloaded").exists()


def test_a_checkpoint_without_its_index(settings, bucket):
    with pytest.raises(UserError, match=r"data holds no model\.json"):
        run_job(settings(f"--checkpoint_url={bucket}/data"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data_url=none",), "--data_url is missing; a job of ModelArts needs it"),
        (("--data_url=none_such",), "none_such: no such file or folder"),
        (("--ckpt_path=/abs",), "--ckpt_path=/abs: with --enable_modelarts=True a path below"),
        (("--ckpt_path=../out",), "--ckpt_path=../out: with --enable_modelarts=True a path below"),
    ],
)
def test_mistakes(settings, flags, message):
    with pytest.raises(UserError, match=message):
        run_job(settings(*flags))
