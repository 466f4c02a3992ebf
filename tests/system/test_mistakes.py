# SPDX-License-Identifier: Apache-2.0
"""A mistake of the user ends in one line on stderr and exit status 2."""

import gzip
import shutil

import pytest

import eval as eval_script
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from tests.checkpoints import save_random_checkpoint
from tests.conftest import ROOT, make_rows
from tests.processes import assert_refused

PREPROCESS, TRAIN, EVAL = ROOT / "src" / "preprocess_data.py", ROOT / "train.py", ROOT / "eval.py"
TINY = ("--batch_size=100", "--embedding_size=2", "--hidden_sizes=4", "--device_target=CPU", "--train_epochs=1")
# Without a time stamp: xdist wants the same test names from every process.
TRUNCATED = gzip.compress(b"1\t\t\t\ta\tb\tc\td\n" * 50, mtime=0)[:-9]


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory, cpu):
    """A checkpoint folder of `dataset`."""
    folder = tmp_path_factory.mktemp("trained") / "checkpoint"
    save_random_checkpoint(folder, DatasetMeta.load(dataset))
    return folder


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        (PREPROCESS, "--data_path=none", "--data_path=none: no such file or folder"),
        (PREPROCESS, "--treshold=3", "unknown argument --treshold; did you mean --threshold?"),
        (TRAIN, "--batch_size=-1", "--batch_size=-1: must be at least 0"),
        (TRAIN, "--dataset_path=none", "--dataset_path=none: no such file or folder"),
        (TRAIN, "--config_path=none.yaml", "--config_path=none.yaml: No such file or directory"),
        (TRAIN, "--device_target=Ascend", "--device_target=Ascend: this machine has no /dev/*davinci[0-9]*"),
        (TRAIN, "--device_target=GPU", "--device_target=GPU: this machine has no /dev/nvidia[0-9]*"),
    ],
)
def test_a_wrong_flag_is_named_and_nothing_is_written(run, tmp_path, script, flag, message):
    assert_refused(run(script, flag, cwd=tmp_path), message)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_in_a_configuration_file_is_named(run, tmp_path):
    (tmp_path / "my.yaml").write_text("bach_size: 100\n")
    assert_refused(
        run(TRAIN, "--config_path=my.yaml", cwd=tmp_path), "my.yaml: bach_size: unknown key; did you mean batch_size?"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.txt", b"", "train.txt is empty"),
        ("train.txt", b"1\t2\t3\n" * 100, "of 100 lines 100 malformed (100 columns)"),
        ("train.txt", b"label,I1,I2,I3,a,b,c,d\n" + b"1,2,,3,a,b,c,d\n" * 50, "comma-separated"),
        ("train.txt", b"-1\t3.0\t\t\ta\tb\tc\td\n" * 50, "--negative_label=-1 takes -1 for the label"),
        ("train.txt", b"\x89PNG\r\n\x1a\n" * 40, "malformed"),
        ("train.txt", b"1\t\t\t\ta\tb\tc\td\n" * 500, "both labels must occur"),
        ("train.txt.gz", TRUNCATED, "train.txt.gz is damaged or truncated"),
        ("dac.tar.gz", b"not an archive", "dac.tar.gz is damaged or truncated"),
    ],
)
def test_a_raw_file_that_cannot_be_used_is_refused_and_nothing_is_written(run, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    finished = run(PREPROCESS, f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", cwd=tmp_path)
    assert_refused(finished, message)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_checkpoint_that_does_not_exist_is_named(run, dataset, tmp_path):
    finished = run(EVAL, f"--dataset_path={dataset}", "--checkpoint_path=none", cwd=tmp_path)
    assert_refused(finished, "--checkpoint_path=none: no such file or folder")


def test_a_missing_shard_is_named(run, dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "mindrecord")
    (folder / "train_input_part.mindrecord00").unlink()
    assert_refused(
        run(TRAIN, f"--dataset_path={folder}", *TINY, cwd=tmp_path), "train_input_part.mindrecord00 is missing"
    )


def test_a_batch_size_that_records_cannot_make_is_refused_with_one_that_they_can(run, dataset, tmp_path):
    assert_refused(run(TRAIN, f"--dataset_path={dataset}", "--batch_size=75", cwd=tmp_path), "use a multiple of 50")
    assert_refused(
        run(TRAIN, f"--dataset_path={dataset}", "--batch_size=50000", cwd=tmp_path), "use a multiple of 50 up to 1000"
    )


def test_a_second_run_does_not_replace_the_results_of_the_first(run, dataset, trained):
    assert_refused(
        run(TRAIN, f"--dataset_path={dataset}", *TINY, cwd=trained.parent), "holds the checkpoints of an earlier run"
    )
    flags = (f"--data_path={dataset.parent}", "--dense_dim=3", "--slot_dim=4")
    assert_refused(run(PREPROCESS, *flags), "exists already, made from another file or with other settings")


def test_a_truncated_checkpoint_is_named(dataset, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(trained, tmp_path / "checkpoint")
    checkpoint = next(folder.glob("*.ckpt"))
    checkpoint.chmod(0o600)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"{checkpoint.name} is damaged or truncated"):
        eval_script.main([f"--dataset_path={dataset}", *TINY])


def test_a_checkpoint_is_not_evaluated_on_data_that_it_was_not_trained_on(make_dataset, trained, monkeypatch):
    monkeypatch.chdir(trained.parent)
    other = make_dataset(content=make_rows(1203, 3, 4, seed=77))
    with pytest.raises(UserError, match="was trained on other data than"):
        eval_script.main([f"--dataset_path={other}", *TINY])


def test_a_folder_that_cannot_be_written_is_named(run, dataset, tmp_path):
    (tmp_path / "file").touch()
    assert_refused(run(TRAIN, f"--dataset_path={dataset}", "--ckpt_path=file/checkpoint", *TINY, cwd=tmp_path), "file")
