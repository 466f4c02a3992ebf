# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from src.checkpoint import DataIdentity, ModelFolder, find_checkpoint, find_resume_checkpoint
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.training.train_step import build_train_step

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def folder(dataset, tmp_path):
    """A folder with three checkpoints, the second the best; `folder.trained` is the network of the third."""
    meta = DatasetMeta.load(dataset)
    config = DeepFMConfig(meta.vocabulary_size, 7, 3, 4, (5,), 0.9)
    network = DeepFM(config)
    train_step = build_train_step(network, 0.01, 5e-8, 1e-4)
    folder = ModelFolder.create(tmp_path / "checkpoint", config, DataIdentity.of_dataset(meta))
    for epoch, log_loss in enumerate((0.5, 0.4, 0.45), 1):
        folder.save(train_step, epoch, 16, {"auc": 0.7, "log_loss": log_loss}, {"step": 16 * epoch})
    folder.trained, folder.train_step = network, train_step
    return folder


def test_weights_survive_the_file(folder):
    loaded = find_checkpoint(folder.path / "deepfm-3_16.ckpt").load_network().parameters_dict()
    trained = folder.trained.parameters_dict()
    assert loaded.keys() == trained.keys()
    for name, parameter in trained.items():
        assert np.array_equal(loaded[name].asnumpy(), parameter.asnumpy())


def test_the_optimizer_is_saved_too(folder):
    import mindspore as ms

    names = set(ms.load_checkpoint(str(folder.path / "deepfm-1_16.ckpt")))
    assert {"moment1.embedding", "moment2.embedding", "global_step"} <= names


def test_a_folder_means_its_best_checkpoint(folder):
    assert find_checkpoint(folder.path).file == "deepfm-2_16.ckpt"
    assert json.loads((folder.path / "model.json").read_text())["best"] == "deepfm-2_16.ckpt"


def test_model_json_lists_checkpoints_under_the_keys_that_other_versions_read(folder):
    content = json.loads((folder.path / "model.json").read_text())
    assert list(content) == ["format_version", "network", "data", "best", "checkpoints"]
    entry = content["checkpoints"][1]
    assert list(entry) == ["file", "sha256", "epoch", "step", "valid", "state"]
    assert entry["valid"] == {"auc": 0.7, "log_loss": 0.4}
    checkpoint = find_checkpoint(folder.path)
    assert checkpoint.path == folder.path / entry["file"]
    assert (checkpoint.epoch, checkpoint.step, checkpoint.metrics, checkpoint.state) == (
        2, 16, {"auc": 0.7, "log_loss": 0.4}, {"step": 32},
    )  # fmt: skip
    assert ModelFolder.load(folder.path).checkpoints == folder.checkpoints


def test_to_resume_from_a_folder_means_its_last_intact_checkpoint(folder):
    assert find_resume_checkpoint(folder.path).file == "deepfm-3_16.ckpt"
    assert find_resume_checkpoint(folder.path / "deepfm-1_16.ckpt").file == "deepfm-1_16.ckpt"
    (folder.path / "deepfm-3_16.ckpt").unlink()
    assert find_resume_checkpoint(folder.path).file == "deepfm-2_16.ckpt"
    with pytest.raises(UserError, match=r"deepfm-3_16\.ckpt: no such file"):
        find_resume_checkpoint(folder.path / "deepfm-3_16.ckpt")
    (folder.path / "deepfm-1_16.ckpt").chmod(0o600)
    (folder.path / "deepfm-1_16.ckpt").write_bytes(b"torn")
    with pytest.raises(UserError, match="is damaged or truncated"):
        find_resume_checkpoint(folder.path / "deepfm-1_16.ckpt")


def test_without_validation_the_last_checkpoint_is_the_best(folder, dataset):
    meta = DatasetMeta.load(dataset)
    unvalidated = ModelFolder.create(
        folder.path.parent / "unvalidated", folder.network_config, DataIdentity.of_dataset(meta)
    )
    train_step = build_train_step(folder.trained, 0.01, 5e-8, 1e-4)
    for epoch in (1, 2):
        unvalidated.save(train_step, epoch, 16, {}, {})
    assert find_checkpoint(unvalidated.path).file == "deepfm-2_16.ckpt"


def test_the_data_of_the_training_are_accepted(folder, dataset):
    find_checkpoint(folder.path).check_data(DatasetMeta.load(dataset))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--threshold=4", "vocabulary_sha256"),
        ("--dense_encoding=bucket", "dense_fields"),
        ("--split_seed=1", "dense_scales"),
    ],
)
def test_other_data_are_refused(folder, make_dataset, flag, message):
    other = make_dataset(flag)
    with pytest.raises(UserError, match=f"was trained on other data than {other}: .*{message}"):
        find_checkpoint(folder.path).check_data(DatasetMeta.load(other))


def test_an_older_model_json_has_the_vocabulary_size_only_in_the_network(folder, dataset):
    path = folder.path / "model.json"
    content = json.loads(path.read_text())
    size = content["data"].pop("vocabulary_size")
    path.write_text(json.dumps(content))
    found = find_checkpoint(folder.path)
    assert found.folder.data_identity.vocabulary_size == size
    found.check_data(DatasetMeta.load(dataset))


def test_a_run_of_the_version_before_can_be_evaluated_but_not_resumed(folder, dataset):
    path = folder.path / "model.json"
    content = json.loads(path.read_text())
    assert content["format_version"] == 3
    find_checkpoint(folder.path).check_resumable()
    path.write_text(json.dumps(content | {"format_version": 2}))
    checkpoint = find_checkpoint(folder.path)
    assert (checkpoint.file, checkpoint.metrics["log_loss"]) == ("deepfm-2_16.ckpt", 0.4)
    checkpoint.load_network()
    checkpoint.check_data(DatasetMeta.load(dataset))
    with pytest.raises(UserError, match=r"model\.json: training cannot be resumed from a run of an earlier version"):
        checkpoint.check_resumable()
    path.write_text(json.dumps(content | {"format_version": 5}))
    with pytest.raises(UserError, match=r"written by another version of train\.py"):
        find_checkpoint(folder.path)


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_truncated_checkpoint_is_refused(folder, size):
    path = folder.path / "deepfm-2_16.ckpt"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:size])
    found = find_checkpoint(path)
    with pytest.raises(UserError, match=r"deepfm-2_16\.ckpt is damaged or truncated"):
        found.load_network()


def test_a_checkpoint_of_other_sizes_is_refused(folder):
    path = folder.path / "model.json"
    content = json.loads(path.read_text())
    content["network"]["embedding_size"] = 8
    path.write_text(json.dumps(content))
    found = find_checkpoint(folder.path)
    with pytest.raises(UserError, match=r"does not hold the network of model\.json; .*embedding \(\d+, 8\)"):
        found.load_network()


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(UserError, match=f"--checkpoint_path={tmp_path}/none: no such file or folder"):
        find_checkpoint(tmp_path / "none")
    with pytest.raises(UserError, match=r"model\.json is missing"):
        find_checkpoint(tmp_path)
    stray = folder.path / "stray.ckpt"
    stray.touch()
    with pytest.raises(UserError, match=r"stray\.ckpt is not one of the checkpoints"):
        find_checkpoint(stray)
    (folder.path / "deepfm-2_16.ckpt").unlink()
    with pytest.raises(UserError, match=r"deepfm-2_16\.ckpt is missing"):
        find_checkpoint(folder.path).load_network()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2, "network": {}}'])
def test_a_damaged_model_json_is_refused(folder, text):
    (folder.path / "model.json").write_text(text)
    with pytest.raises(UserError, match=r"model\.json is damaged"):
        find_checkpoint(folder.path)


def test_an_earlier_run_is_replaced_only_with_overwrite(folder, dataset):
    identity = DataIdentity.of_dataset(DatasetMeta.load(dataset))
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run"):
        ModelFolder.create(folder.path, folder.network_config, identity)
    assert len(list(folder.path.glob("*.ckpt"))) == 3
    ModelFolder.create(folder.path, folder.network_config, identity, overwrite=True)
    assert list(folder.path.iterdir()) == []


def test_to_resume_the_optimizer_is_loaded_too_and_later_files_are_removed(folder):
    (folder.path / "deepfm-4_1.ckpt").touch()  # written, but not yet listed when the run was killed
    (folder.path / "deepfm-5_1.ckpt.tmp").touch()
    step = folder.train_step.optimizer.global_step
    step.set_data(step + 7)
    found = ModelFolder.load(folder.path)
    last = found.last_intact()
    assert last.state == {"step": 48}
    last.load_into(folder.train_step)
    assert step.asnumpy().item() == 0
    found.drop_after(last)
    assert [each.epoch for each in found.checkpoints] == [1, 2, 3]
    assert len(list(folder.path.iterdir())) == 4


def test_damaged_checkpoints_are_skipped_with_a_note(folder, capsys):
    for name in ("deepfm-3_16.ckpt", "deepfm-2_16.ckpt"):
        (folder.path / name).chmod(0o600)
        (folder.path / name).write_bytes(b"torn")
    found = ModelFolder.load(folder.path)
    last = found.last_intact()
    assert last.file == "deepfm-1_16.ckpt"
    notes = capsys.readouterr().out.splitlines()
    assert len(notes) == 2
    assert "deepfm-3_16.ckpt is damaged or truncated" in notes[0]
    found.drop_after(last)
    assert sorted(path.name for path in folder.path.iterdir()) == ["deepfm-1_16.ckpt", "model.json"]
    (folder.path / "deepfm-1_16.ckpt").unlink()
    with pytest.raises(UserError, match="holds no intact checkpoint"):
        found.last_intact()


def test_a_checkpoint_that_model_json_could_not_list_does_not_count(folder, monkeypatch):
    before = (folder.path / "model.json").read_bytes(), folder.checkpoints

    def fail(path, text):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("src.checkpoint.write_json", fail)
    with pytest.raises(OSError, match="No space left"):
        folder.save(folder.train_step, 4, 16, {}, {"step": 64})
    with pytest.raises(OSError, match="No space left"):
        folder.update_last({"auc": 0.9, "log_loss": 0.1}, {})
    assert ((folder.path / "model.json").read_bytes(), folder.checkpoints) == before


def test_metrics_that_come_later_have_the_effect_of_metrics_that_come_at_once(folder):
    at_once, later = (
        ModelFolder.create(folder.path.parent / name, folder.network_config, folder.data_identity, keep=1)
        for name in ("once", "later")
    )
    for epoch, log_loss in enumerate((0.5, 0.4, 0.45, 0.43), 1):
        metrics, state = {"auc": 0.7, "log_loss": log_loss}, {"step": epoch}
        at_once.save(folder.train_step, epoch, 16, metrics, state)
        later.save(folder.train_step, epoch, 16, {}, {"step": epoch, "pending": True}, is_validated=False)
        assert f"deepfm-{epoch}_16.ckpt" in [each.file for each in ModelFolder.load(later.path).checkpoints]
        later.update_last(metrics, state)
        assert later.checkpoints == at_once.checkpoints
    names = [sorted(path.name for path in each.path.iterdir()) for each in (at_once, later)]
    assert names[0] == names[1] == ["deepfm-2_16.ckpt", "deepfm-4_16.ckpt", "model.json"]
    assert (at_once.path / "model.json").read_bytes() == (later.path / "model.json").read_bytes()


def test_a_model_json_of_before_multi_valued_fields_is_resumed(folder, dataset):
    path = folder.path / "model.json"
    content = json.loads(path.read_text())
    content["network"].pop("list_lengths", None)
    assert not content["data"].keys() & {"list_lengths", "bucket_edges"}
    path.write_text(json.dumps(content))
    checkpoint = find_resume_checkpoint(folder.path)
    checkpoint.check_resumable()
    checkpoint.check_data(DatasetMeta.load(dataset))
    assert checkpoint.folder.network_config == folder.network_config
    checkpoint.load_into(folder.train_step)
