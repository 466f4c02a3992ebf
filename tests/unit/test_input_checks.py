# SPDX-License-Identifier: Apache-2.0
"""Inputs that are missing, and data that do not suit the flags."""

import re

import pytest

from src.common.errors import ConfigError, UserError
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.input_checks import check_inputs, check_urls


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a checkpoint and a folder that holds no data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "deepfm-1_9.ckpt").touch()


@pytest.mark.parametrize(
    ("needed", "optional", "flags", "refused"),
    [
        (("dataset_path",), (), [], "--dataset_path=./data/mindrecord: no such file or folder"),
        (("dataset_path",), (), ["--dataset_path=deepfm-1_9.ckpt/a"], "--dataset_path=deepfm-1_9.ckpt/a: no such"),
        (("dataset_path",), (), ["--dataset_path=empty"], "empty holds no dataset_meta.json; --dataset_path names"),
        ((), ("dataset_path",), [], None),
        ((), ("dataset_path",), ["--dataset_path=other"], "--dataset_path=other: no such file or folder"),
        ((), ("dataset_path",), ["--dataset_path=empty"], "empty holds no dataset_meta.json"),
        (("ckpt_file",), (), [], "--ckpt_file is missing; expected: checkpoint"),
        (("ckpt_file",), (), ["--ckpt_file=deepfm-1_9.ckpt"], None),
        (("checkpoint_path",), (), [], "--checkpoint_path=./checkpoint: no such file or folder"),
        (("checkpoint_path",), (), ["--ckpt_path=."], None),
        (("checkpoint_path",), (), ["--ckpt_path=.", "--checkpoint_path=other"], "--checkpoint_path=other: no such"),
        ((), ("checkpoint_path",), ["--ckpt_path=new"], None),
    ],
)
def test_missing_inputs_are_named(folder, needed, optional, flags, refused):
    if refused is None:
        check_inputs(load_config(flags), needed, optional)
    else:
        with pytest.raises(UserError, match=f"^{re.escape(refused)}"):
            check_inputs(load_config(flags), needed, optional)


# The folder `dataset` has records of 50 rows, of which the training split has about 20, and three integers.
@pytest.mark.parametrize(
    ("split", "flags", "refused"),
    [
        ("train", ["--batch_size=100"], None),
        ("train", ["--batch_size=75"], "--batch_size=75 cannot be made of records of 50 rows; use a multiple of 50"),
        ("train", ["--batch_size=0"], "--batch_size=0 is for export.py alone"),
        ("train", ["--batch_size=50000"], "--batch_size=50000: the train split has"),
        ("test", ["--batch_size=50000"], None),  # evaluation pads its batches
        ("test", ["--batch_size=75"], "--batch_size=75 cannot be made of records of 50 rows"),
        ("test", ["--batch_size=100", "--by_field=I3"], None),
        (
            "test",
            ["--batch_size=100", "--by_field=I4"],
            "--by_field=I4: the sparse fields of these data are I1, I2, I3",
        ),
        ("test", ["--batch_size=100", "--fit_calibration=True"], None),
        (None, ["--batch_size=75"], None),
        # 20 steps of 50 rows an epoch, 10 of two ranks
        ("train", ["--batch_size=50", "--sink_size=20"], None),
        (
            "train",
            ["--batch_size=50", "--sink_size=50"],
            "--sink_size=50: the number of steps per epoch, 20, must be a multiple of it; here it can be 1, 2, 4, 5, ",
        ),
        ("test", ["--batch_size=50", "--sink_size=50"], None),
    ],
)
def test_data_that_do_not_suit_the_flags_are_refused(dataset, split, flags, refused):
    config = load_config([f"--dataset_path={dataset}", *flags])
    if refused is None:
        check_inputs(config, ("dataset_path",), split=split)
    else:
        with pytest.raises(UserError, match=f"^{re.escape(refused)}"):
            check_inputs(config, ("dataset_path",), split=split)


def test_a_recalibration_needs_validation_rows(make_dataset):
    flags = [f"--dataset_path={make_dataset('--valid_ratio=0')}", "--batch_size=100", "--fit_calibration=True"]
    with pytest.raises(UserError, match=r"^the .* has no rows; preprocess with --valid_ratio above 0$"):
        check_inputs(load_config(flags), ("dataset_path",), split="test")
    check_inputs(load_config(flags), ("dataset_path",), split="train")  # a setting of eval.py alone


def test_the_steps_of_several_ranks_are_counted(dataset):
    flags = [f"--dataset_path={dataset}", "--batch_size=50", "--sink_size=20"]
    check_inputs(load_config(flags), ("dataset_path",), split="train", ranks=1)
    with pytest.raises(
        UserError, match=r"^--sink_size=20: the number of steps per epoch, 10, .* here it can be 1, 2, 5, "
    ):
        check_inputs(load_config(flags), ("dataset_path",), split="train", ranks=2)
    with pytest.raises(UserError, match=r"^--batch_size=50: the train split has 20 records of 50 rows"):
        check_inputs(load_config(flags), ("dataset_path",), split="train", ranks=21)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_steps_per_epoch_are_those_of_the_dataset(dataset, cpu, ranks):
    from src.distributed.process_group import ProcessGroup
    from src.training.training_data import TrainingData

    data = DatasetMeta.load(dataset)
    group = ProcessGroup()
    group.count = ranks
    for batch_size in (50, 150):
        created = TrainingData(data, batch_size, 1, group)
        assert data.steps_per_epoch(batch_size, ranks) == created.get_dataset_size()


@pytest.mark.parametrize(
    ("flags", "refused"),
    [
        (["--sink_size=100"], None),
        (["--sink_size=25", "--save_checkpoint_steps=50", "--eval_every_steps=0"], None),
        (
            ["--sink_size=30"],
            "--sink_size=30: --log_every=100 must be a multiple of it; here it can be 1, 2, 4, 5, 10, 20, 25, 50, 100",
        ),
        (
            ["--sink_size=20", "--eval_every_steps=90"],
            "--sink_size=20: --eval_every_steps=90 must be a multiple of it; here it can be 1, 2, 5, 10",
        ),
        (
            ["--sink_size=8", "--log_every=8", "--save_checkpoint_steps=2"],
            "--sink_size=8: --save_checkpoint_steps=2 must be a multiple of it; here it can be 1, 2",
        ),
        (["--sink_size=0", "--log_every=7"], None),  # without sinking, one step after the other
        (["--sink_size=-1"], "--sink_size=-1: must be at least 0"),
    ],
)
def test_what_comes_after_a_number_of_steps_comes_between_blocks(flags, refused):
    if refused is None:
        load_config(flags)
    else:
        with pytest.raises(ConfigError, match=f"^{re.escape(refused)}$"):
            load_config(flags)


def test_a_job_does_not_fit_a_recalibration():
    job = ["--enable_modelarts=True", "--data_url=a", "--train_url=b", "--fit_calibration=True"]
    with pytest.raises(ConfigError, match=r"^--fit_calibration=True: a job of ModelArts does not keep the checkpoint"):
        check_urls(load_config(job), needs_data=True, split="test")
    for split in ("train", None):  # a setting of eval.py alone
        check_urls(load_config(job), needs_data=True, split=split)


def test_a_job_needs_addresses():
    job = ["--enable_modelarts=True"]
    for flags, needs_data, missing in (
        (["--data_url=a", "--train_url=b"], True, None),
        (["--train_url=b"], True, "data_url"),
        (["--train_url=b"], False, None),
        (["--data_url=a"], False, "train_url"),
    ):
        if missing is None:
            check_urls(load_config([*job, *flags]), needs_data=needs_data)
        else:
            with pytest.raises(ConfigError, match=f"^--{missing} is missing; a job of ModelArts needs it$"):
                check_urls(load_config([*job, *flags]), needs_data=needs_data)
