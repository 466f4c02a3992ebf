# SPDX-License-Identifier: Apache-2.0
"""What a user can get wrong ends in one line on stderr and exit status 2."""

import gzip
import shutil

import pytest

from tests.conftest import ROOT, make_rows

PREPROCESS, TRAIN, EVAL = ROOT / "src" / "preprocess_data.py", ROOT / "train.py", ROOT / "eval.py"
TINY = ("--batch_size=100", "--embedding_size=2", "--hidden_sizes=4", "--device_target=CPU", "--train_epochs=1")
# Without a time stamp: xdist wants the same test names from every process.
CUT_OFF = gzip.compress(b"1\t\t\t\ta\tb\tc\td\n" * 50, mtime=0)[:-9]


@pytest.fixture(scope="module")
def trained(dataset, run, tmp_path_factory):
    """A checkpoint folder trained on `dataset`."""
    work = tmp_path_factory.mktemp("trained")
    finished = run(TRAIN, f"--dataset_path={dataset}", *TINY, cwd=work)
    assert finished.returncode == 0, finished.stderr
    return work / "checkpoint"


def check(finished, *parts):
    assert finished.returncode == 2, finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("script", "flag", "message"),
    [
        (PREPROCESS, "--data_path=none", "no train.txt, train.txt.gz or dac.tar.gz in none/origin_data or none"),
        (PREPROCESS, "--treshold=3", "unknown argument --treshold; did you mean --threshold?"),
        (TRAIN, "--batch_size=-1", "--batch_size=-1: must be at least 0"),
        (TRAIN, "--dataset_path=none", "none holds no dataset_meta.json"),
        (TRAIN, "--config_path=none.yaml", "--config_path=none.yaml: No such file or directory"),
        (TRAIN, "--device_target=Ascend", "--device_target=Ascend: this machine has no /dev/*davinci[0-9]*"),
        (TRAIN, "--device_target=GPU", "--device_target=GPU: this machine has no /dev/nvidia[0-9]*"),
        (EVAL, "--checkpoint_path=none", "--checkpoint_path=none: no such file or folder"),
    ],
)
def test_flags(run, tmp_path, script, flag, message):
    check(run(script, flag, cwd=tmp_path), message)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_key_in_a_file(run, tmp_path):
    (tmp_path / "my.yaml").write_text("bach_size: 100\n")
    check(
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
        ("train.txt.gz", CUT_OFF, "train.txt.gz is damaged or truncated"),
        ("dac.tar.gz", b"not an archive", "dac.tar.gz is damaged or truncated"),
    ],
)
def test_raw_files(run, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    finished = run(PREPROCESS, f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", cwd=tmp_path)
    check(finished, message)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_shard(run, dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "mindrecord")
    (folder / "train_input_part.mindrecord00").unlink()
    check(run(TRAIN, f"--dataset_path={folder}", *TINY, cwd=tmp_path), "train_input_part.mindrecord00 is missing")


def test_a_batch_that_the_records_cannot_make(run, dataset, tmp_path):
    check(run(TRAIN, f"--dataset_path={dataset}", "--batch_size=75", cwd=tmp_path), "use a multiple of 50")
    check(
        run(TRAIN, f"--dataset_path={dataset}", "--batch_size=50000", cwd=tmp_path), "use a multiple of 50 up to 1000"
    )


def test_a_second_run_into_the_same_folders(run, dataset, trained):
    check(run(TRAIN, f"--dataset_path={dataset}", *TINY, cwd=trained.parent), "holds the checkpoints of an earlier run")
    flags = (f"--data_path={dataset.parent}", "--dense_dim=3", "--slot_dim=4")
    check(run(PREPROCESS, *flags), "exists already, made from another file or with other settings")


def test_a_checkpoint_that_is_cut_off(run, dataset, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "checkpoint")
    checkpoint = next(folder.glob("*.ckpt"))
    checkpoint.chmod(0o600)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    check(run(EVAL, f"--dataset_path={dataset}", *TINY, cwd=tmp_path), f"{checkpoint.name} is damaged or cut off")


def test_other_data_than_it_was_trained_on(run, make_dataset, trained):
    other = make_dataset(content=make_rows(1203, 3, 4, seed=77))
    check(run(EVAL, f"--dataset_path={other}", *TINY, cwd=trained.parent), "was trained on other data than")


def test_a_folder_that_cannot_be_written(run, dataset, tmp_path):
    (tmp_path / "file").touch()
    check(run(TRAIN, f"--dataset_path={dataset}", "--ckpt_path=file/checkpoint", *TINY, cwd=tmp_path), "file")
