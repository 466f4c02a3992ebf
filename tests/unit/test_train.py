# SPDX-License-Identifier: Apache-2.0
import json

import mindspore as ms
import mindspore.train
import pytest

import train
from src.checkpoint import Checkpoint
from src.common.errors import UserError
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.distributed.device import Device
from src.distributed.process_group import ProcessGroup
from src.network.dropout import GeneratedDropout
from src.network.tables import Part
from src.training.feeder import IteratorFeeder, SinkFeeder
from src.training.precision import FLOAT32
from src.training.run_record import RunRecord
from tests.training import Training

pytestmark = pytest.mark.usefixtures("seeded")
NETWORK = ("--embedding_size=2", "--hidden_sizes=3", "--keep_prob=1", "--batch_size=50")


@pytest.mark.parametrize(("scaling", "expected"), [("none", 0.01), ("linear", 0.04), ("sqrt", 0.02)])
def test_the_learning_rate_is_scaled_with_the_number_of_devices(scaling, expected):
    config = load_config([f"--lr_scaling={scaling}", "--learning_rate=0.01", "--warmup_ratio=0.5", "--train_epochs=2"])
    schedule = train.create_schedule(config, steps_per_epoch=10, rank_count=4)
    assert schedule.peak == pytest.approx(expected)
    assert [schedule.at(step) / schedule.peak for step in (0, 9, 10)] == pytest.approx([0.1, 1, 1])


@pytest.fixture
def earlier(dataset, tmp_path):
    """A finished training, in tmp_path/ckpt, with the checkpoints 1_10, 1_20, 2_10 and 2_20."""
    return Training(dataset, tmp_path, epochs=2, save_every=10).fit()


@pytest.fixture
def open_run(dataset, tmp_path):
    """Return a function that opens a run by flags; it returns what train.open_run does, and the TrainStep."""
    data = DatasetMeta.load(dataset)

    def open_by_flags(*flags, ckpt_path="ckpt", settings=None):
        config = load_config([f"--ckpt_path={tmp_path / ckpt_path}", f"--dataset_path={dataset}", *NETWORK, *flags])
        train_step = train.create_train_step(config, data, Device("CPU"), FLOAT32, ProcessGroup(), Part())
        record = RunRecord(config.ckpt_path, settings or {}, data, "CPU")
        return (*train.open_run(config, data, train_step, record, ProcessGroup()), train_step)

    return open_by_flags


def global_step(train_step):
    return train_step.optimizer.global_step.asnumpy().item()


def test_a_new_run_starts_with_an_empty_folder_and_without_a_state(open_run, tmp_path):
    folder, state, in_place, train_step = open_run()
    assert (folder.path, folder.checkpoints, state, in_place) == (tmp_path / "ckpt", (), None, False)
    assert list(folder.path.iterdir()) == []
    assert folder.network_config == train_step.network.network.config
    assert global_step(train_step) == 0


def test_a_new_run_replaces_an_earlier_one_only_on_demand(earlier, open_run):
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run"):
        open_run()
    folder, state, in_place, _ = open_run("--overwrite=True")
    assert (folder.checkpoints, state, in_place) == ((), None, False)
    assert list(folder.path.glob("*.ckpt")) == []


def test_a_run_is_resumed_in_place_from_its_last_intact_checkpoint(earlier, open_run, capsys):
    last = earlier.folder.path / "deepfm-2_20.ckpt"
    last.chmod(0o600)
    last.write_bytes(b"torn")
    folder, state, in_place, train_step = open_run("--resume=True", "--keep_checkpoint_max=7")
    assert (state["step"], in_place, folder.keep, global_step(train_step)) == (30, True, 7, 30)
    assert [each.file for each in folder.checkpoints] == ["deepfm-1_10.ckpt", "deepfm-1_20.ckpt", "deepfm-2_10.ckpt"]
    assert not last.exists()
    assert f"resuming from {folder.path / 'deepfm-2_10.ckpt'}, after step 30" in capsys.readouterr().out


@pytest.mark.parametrize(("path", "step"), [("ckpt", 40), ("ckpt/deepfm-1_20.ckpt", 20)])
def test_a_new_run_starts_from_the_checkpoint_of_another_and_leaves_that_alone(earlier, open_run, tmp_path, path, step):
    before = {file: file.read_bytes() for file in earlier.folder.path.iterdir()}
    # With --resume=True too, as long as the new run itself has no checkpoint.
    folder, state, in_place, train_step = open_run(
        f"--checkpoint_path={tmp_path / path}", "--resume=True", ckpt_path="new"
    )
    assert (folder.path, folder.checkpoints, in_place) == (tmp_path / "new", (), False)
    assert state["step"] == global_step(train_step) == step
    assert {file: file.read_bytes() for file in earlier.folder.path.iterdir()} == before


def test_to_resume_there_must_be_a_run_of_this_version_on_these_data(earlier, open_run, make_dataset, monkeypatch):
    with pytest.raises(UserError, match=r"model\.json is missing"):
        open_run("--resume=True", ckpt_path="none")
    other = DatasetMeta.load(make_dataset("--threshold=4"))
    checkpoint = earlier.folder.checkpoints[-1]
    with pytest.raises(UserError, match="was trained on other data than"):
        train.restore(checkpoint, load_config([]), other, earlier.train_step, earlier.record, ProcessGroup())
    path = earlier.folder.path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    for flag in ("--resume=True", f"--checkpoint_path={earlier.folder.path}"):
        with pytest.raises(UserError, match=r"cannot be resumed from a run of an earlier version of train\.py; train"):
            open_run(flag)


@pytest.mark.parametrize(
    ("metrics", "text"), [({"auc": 0.84799, "log_loss": 0.39581}, ": valid AUC 0.8480, log loss 0.3958"), ({}, "")]
)
def test_the_summary_names_the_best_checkpoint(earlier, metrics, text):
    best = Checkpoint(earlier.folder, "deepfm-3_160.ckpt", "", 3, 160, metrics, {})
    assert train.describe(1480, 2000, best, "report.html").splitlines() == [
        "trained      1,480 steps of 2,000 rows",
        f"best         epoch 3, step 160{text}",
        f"checkpoint   {earlier.folder.path}/deepfm-3_160.ckpt",
        "report       report.html",
    ]
    weighted = train.describe(1480, 2000, best, None, has_weights=True).splitlines()[1]
    assert weighted == f"best         epoch 3, step 160{text}{', by weight' if metrics else ''}"
    assert train.describe(1, 1, best, None).splitlines()[-1].startswith("checkpoint ")


def test_the_callbacks_have_the_order_that_the_tests_of_training_have(dataset, tmp_path, monkeypatch):
    def stop_before_training(train_step, epochs, ranks, callbacks, *others):
        raise Wired([type(each).__name__ for each in callbacks])

    monkeypatch.setattr(train, "Trainer", stop_before_training)
    monkeypatch.chdir(tmp_path)
    flags = (f"--dataset_path={dataset}", "--device_target=CPU", "--callback=mindspore.train:LambdaCallback", *NETWORK)
    with pytest.raises(Wired) as caught:
        train.main(flags)
    names = []
    observer = mindspore.train.LambdaCallback(
        on_train_begin=lambda run_context: names.extend(
            type(each).__name__ for each in run_context.original_args().list_callback
        )
    )
    Training(dataset, tmp_path / "other", callbacks=[observer]).fit()
    assert caught.value.args[0] == names


class Wired(Exception):
    """Carries what train.py passes to the Trainer."""


@pytest.fixture
def wire_for_ascend(dataset, tmp_path, monkeypatch):
    """Return a function that lets train.py run, as on an Ascend, until it has made its Trainer, by flags.

    It returns the arguments of set_up, the train step and the feeder.  A CPU can build all of it.
    """
    asked = {}

    def set_up(target, device_id, jit_level, convert_dtype, **others):
        asked.update(jit_level=jit_level, convert_dtype=convert_dtype, **others)
        return Device("Ascend", "ascend910b"), ProcessGroup()

    def stop_before_training(train_step, epochs, ranks, callbacks, rows_per_step, log_every, feeder):
        raise Wired(asked, train_step, feeder)

    def run(*flags):
        with pytest.raises(Wired) as caught:
            train.main((f"--dataset_path={dataset}", *NETWORK, *flags))
        return caught.value.args

    monkeypatch.setattr(train, "set_up", set_up)
    monkeypatch.setattr(train, "Trainer", stop_before_training)
    monkeypatch.chdir(tmp_path)
    return run


def test_training_on_ascend_checks_the_masks_and_sinks_data(wire_for_ascend, monkeypatch):
    checked = []
    monkeypatch.setattr(train, "check_masks", checked.append)
    asked, train_step, feeder = wire_for_ascend("--keep_prob=0.9", "--jit_level=O1", "--sink_size=2")
    assert checked == ["Ascend"]
    assert asked == {"jit_level": "O1", "convert_dtype": "auto", "has_dropout": True}
    assert isinstance(train_step.network.network.deep.hidden_layers[0].activation.dropout, GeneratedDropout)
    assert train_step.network.network.dense_dtype == ms.float16  # --convert_dtype=auto
    assert (train_step.sens, train_step.checks_overflow, train_step.optimizer.block_size) == (1024.0, True, 2)
    assert feeder is SinkFeeder


def test_training_on_ascend_without_dropout_or_sinking(wire_for_ascend, monkeypatch):
    checked = []
    monkeypatch.setattr(train, "check_masks", checked.append)
    asked, train_step, feeder = wire_for_ascend("--keep_prob=1", "--sink_size=0", "--convert_dtype=bfloat16")
    assert checked == []
    assert asked == {"jit_level": "auto", "convert_dtype": "bfloat16", "has_dropout": False}
    assert (train_step.network.network.dense_dtype, train_step.sens) == (ms.bfloat16, 1.0)
    assert (feeder, train_step.optimizer.block_size) == (IteratorFeeder, 1)


def test_a_device_whose_masks_are_wrong_trains_nothing(wire_for_ascend, monkeypatch, tmp_path):
    def refuse(target):
        raise UserError("dropout is wrong on this device")

    monkeypatch.setattr(train, "check_masks", refuse)
    with pytest.raises(UserError, match="dropout is wrong"):
        train.main(("--keep_prob=0.9", f"--ckpt_path={tmp_path / 'new'}"))
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_within_a_block_is_refused_before_anything_changes(earlier, open_run, tmp_path):
    before = {path: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()}
    message = "^--sink_size=20: the step of the checkpoint, 10, must be a multiple of it; here it can be 1, 2, 5, 10$"
    flags = ("--sink_size=20", f"--checkpoint_path={tmp_path / 'ckpt' / 'deepfm-1_10.ckpt'}")
    with pytest.raises(UserError, match=message):
        open_run(*flags, ckpt_path="new")
    with pytest.raises(UserError, match=message):
        open_run(*flags, "--overwrite=True")
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in (tmp_path / "ckpt").iterdir()} == before
    _, state, _, _ = open_run("--sink_size=10", *flags[1:], ckpt_path="new")
    assert state["step"] == 10
