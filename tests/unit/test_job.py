# SPDX-License-Identifier: Apache-2.0
"""A job around a script, without the script."""

import os
import pathlib

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.modelarts.job import open_job
from src.modelarts.object_store import open_store
from src.modelarts.transfer import upload
from tests.conftest import make_rows
from tests.file_trees import write_files

OUTPUTS = ("ckpt_path", "loss_file_name")
MINDRECORD = {"dataset_meta.json": b"{}", "train_input_part.mindrecord0": b"records", "vocabulary.tsv": b"C1"}


@pytest.fixture
def configure(bucket, tmp_path):
    """Return a function from flags to the configuration of a job whose data are in the bucket."""
    write_files(tmp_path / "origin", MINDRECORD)
    upload(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/data")
    folders = [f"--{key}={tmp_path / key}" for key in ("data_path", "output_path", "load_path")]
    urls = [f"--data_url={bucket}/data", f"--train_url={bucket}/out"]
    return lambda *flags: load_config(["--enable_modelarts=True", *urls, *folders, *flags])


def run_job(config):
    with open_job(config, OUTPUTS, "checkpoint_path") as job:
        pathlib.Path(job.config.loss_file_name).write_text("a line\n")
        job.publish()
    return job.config


@pytest.mark.parametrize("rank", [0, 1, 7])
def test_only_the_first_process_of_the_platform_uploads(configure, bucket, monkeypatch, rank):
    environment = {"RANK_TABLE_FILE": "/user/config/jobstart_hccl.json", "RANK_SIZE": "8", "RANK_ID": str(rank)}
    for name, value in (environment | {"ASCEND_DEVICE_ID": str(rank)}).items():
        monkeypatch.setenv(name, value)
    run_job(configure())
    assert list(open_store(os.environ).list(f"{bucket}/out")) == (["loss.log"] if rank == 0 else [])


def test_the_configuration_gets_local_paths(configure, tmp_path):
    config = run_job(configure("--ckpt_path=./models/mine"))
    assert pathlib.Path(config.dataset_path) == tmp_path / "data_path" / "downloaded"
    assert pathlib.Path(config.ckpt_path) == tmp_path / "output_path" / "models" / "mine"


@pytest.mark.parametrize(
    ("flag", "has_results", "note"),
    [
        ("--resume=False", False, ""),
        ("--resume=True", True, ""),
        ("--resume=False", True, "note: {out} holds an earlier start of this job, so it resumes; for a new training "),
        ("--resume=True", False, "note: --resume=True: {out} holds no earlier start of this job, so training starts "),
    ],
)
def test_a_job_resumes_if_there_are_results_and_says_so_if_the_flag_differs(
    configure, tmp_path, capsys, flag, has_results, note
):
    out = tmp_path / "out"
    if has_results:
        write_files(out / "checkpoint", {"model.json": b"{}"})
    assert run_job(configure(f"--train_url={out}", flag)).resume == has_results
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert len(notes) == bool(note)
    assert not note or notes[0].startswith(note.format(out=out))


def test_raw_rows_are_preprocessed_with_the_settings_of_the_job(configure, tmp_path):
    write_files(tmp_path / "raw", {"train.txt": make_rows(300, 2, 3, seed=1).encode()})
    flags = ("--dense_dim=2", "--slot_dim=3", "--threshold=3", "--line_per_sample=10", "--train_line_count=0")
    config = run_job(configure(f"--data_url={tmp_path / 'raw'}", *flags))
    assert pathlib.Path(config.dataset_path) == tmp_path / "data_path" / "mindrecord"
    meta = DatasetMeta.load(config.dataset_path)
    assert sum(split.rows for split in meta.splits.values()) == 300
    assert meta.settings["threshold"] == 3


def test_without_enable_modelarts_the_configuration_is_unchanged():
    config = load_config(["--data_url=obs://bucket/data"])
    with open_job(config, OUTPUTS, "checkpoint_path") as job:
        assert job.config is config
        job.publish()


@pytest.mark.parametrize(("parent", "name"), [("", ""), ("checkpoint/", ""), ("", "/deepfm-2_9.ckpt")])
def test_a_checkpoint_is_downloaded_with_its_index(configure, bucket, tmp_path, parent, name):
    companions = (
        "model.json", "run.json", "probe_rows.npz", "raw_rows.json", "vocabulary.tsv", "evaluations.json",
    )  # fmt: skip
    earlier, later = (
        [f"deepfm-{epoch}_9{suffix}" for suffix in (".ckpt", ".part-0-of-2.safetensors", ".part-1-of-2.safetensors")]
        for epoch in (1, 2)
    )
    files = {f"{parent}{name}": name.encode() for name in (*companions, *earlier, *later)}
    write_files(tmp_path / "run", files)
    upload(open_store(os.environ), tmp_path / "run", list(files), f"{bucket}/run")
    config = run_job(configure(f"--checkpoint_url={bucket}/run{name}"))
    path = pathlib.Path(config.checkpoint_path)
    assert path == tmp_path / "load_path" / parent / name.strip("/")
    folder = path.parent if name else path
    names = {*companions, *later} | (set() if name else set(earlier))
    assert {found.name for found in folder.iterdir()} == names


@pytest.mark.parametrize("parent", ["", "checkpoint"])
def test_a_local_checkpoint_folder_is_used_where_it_is(configure, tmp_path, parent):
    write_files(tmp_path / "run" / parent, {"model.json": b"{}"})
    config = run_job(configure(f"--checkpoint_url={tmp_path / 'run'}", f"--train_url={tmp_path / 'out'}"))
    assert pathlib.Path(config.checkpoint_path) == tmp_path / "run" / parent


def test_a_script_that_needs_no_data_runs_with_only_a_checkpoint(configure, bucket, tmp_path):
    write_files(tmp_path / "run", {"model.json": b"{}"})
    upload(open_store(os.environ), tmp_path / "run", ["model.json"], f"{bucket}/run")
    config = configure("--data_url=none", f"--checkpoint_url={bucket}/run", "--ckpt_path=models")
    with open_job(config, OUTPUTS, "ckpt_file", needs_data=False) as job:
        assert job.config.dataset_path == config.dataset_path
        assert pathlib.Path(job.config.ckpt_file) == tmp_path / "load_path"
    assert not (tmp_path / "data_path" / "downloaded").exists()


def test_a_checkpoint_without_its_index_is_refused(configure, bucket):
    with pytest.raises(UserError, match=r"data holds no model\.json"):
        run_job(configure(f"--checkpoint_url={bucket}/data"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--data_url=none",), "--data_url is missing; a job of ModelArts needs it"),
        (("--data_url=none_such",), "none_such: no such file or folder"),
        (("--ckpt_path=/abs",), "--ckpt_path=/abs: with --enable_modelarts=True it must be a path below"),
        (("--ckpt_path=../out",), "--ckpt_path=../out: with --enable_modelarts=True it must be a path below"),
    ],
)
def test_a_user_s_mistakes_are_named(configure, flags, message):
    with pytest.raises(UserError, match=message):
        run_job(configure(*flags))
