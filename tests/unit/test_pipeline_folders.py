# SPDX-License-Identifier: Apache-2.0
"""The MindRecord folder: when it is made, replaced, reused or refused."""

import fcntl
import os

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from tests.conftest import make_rows
from tests.raw_data import digests


def flags_of(folder, *flags):
    return [f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50",
            "--train_line_count=0", *flags]  # fmt: skip


def test_an_earlier_result_is_replaced_only_on_demand(make_dataset):
    folder = make_dataset()
    flags = [
        f"--data_path={folder.parent}",
        "--dense_dim=3",
        "--slot_dim=4",
        "--line_per_sample=20",
        "--train_line_count=0",
    ]
    before = digests(folder)
    with pytest.raises(UserError, match=r"exists already, .*; --overwrite=True replaces it"):
        main(flags)
    assert digests(folder) == before
    main([*flags, "--overwrite=True"])
    assert DatasetMeta.load(folder).rows_per_record == 20
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mindrecord", "train.txt"]


def test_a_failed_run_leaves_the_earlier_result_alone(make_dataset):
    folder = make_dataset()
    before = digests(folder)
    (folder.parent / "train.txt").write_text("1\t2\n")
    with pytest.raises(UserError):
        main([f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--overwrite=True"])
    assert digests(folder) == before


def test_a_complete_result_of_the_same_file_and_settings_is_used_again(make_dataset, capsys):
    folder = make_dataset()
    flags = [f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50"]
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    main([*flags, "--memory_limit=1"])
    assert "was made from this file with these settings already" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    source = folder.parent / "train.txt"
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    with pytest.raises(UserError, match="made from another file or with other settings"):
        main(flags)


def test_a_second_run_on_the_same_folder_stops(make_dataset):
    folder = make_dataset()
    partial = folder.with_name("mindrecord.partial")
    partial.mkdir()
    with open(partial / "preprocess.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"another run is preprocessing {folder}; wait for it, stop it"):
            main([f"--data_path={folder.parent}", "--overwrite=True"])


def test_an_output_folder_elsewhere_gets_the_same_files_and_nothing_else_changes(dataset, tmp_path, capsys):
    before = sorted(path.name for path in dataset.parent.iterdir())
    out = tmp_path / "new" / "criteo"
    main(flags_of(dataset, f"--output_dir={out}"))
    assert digests(out) == digests(dataset)
    assert sorted(path.name for path in dataset.parent.iterdir()) == before
    assert [path.name for path in out.parent.iterdir()] == ["criteo"]
    note = f"note: the MindRecord files are in {out}; train.py reads them with --dataset_path={out}\n"
    assert capsys.readouterr().out.endswith(note)
    main(flags_of(dataset, f"--output_dir={out}", f"--dataset_path={out}"))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out} was made from this file with these settings already")
    assert "note" not in printed


def test_an_empty_folder_may_become_the_output_and_one_with_other_files_never(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    main(flags_of(dataset, f"--output_dir={tmp_path / 'empty'}"))
    assert digests(tmp_path / "empty") == digests(dataset)
    rows = digests_of_files(dataset.parent)
    with pytest.raises(UserError, match="holds other files than MindRecord; name another folder with --output_dir"):
        main(flags_of(dataset, f"--output_dir={dataset.parent}", "--overwrite=True"))
    assert digests_of_files(dataset.parent) == rows


def digests_of_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_outputs_of_the_same_rows_do_not_exclude_each_other(dataset, tmp_path):
    partial = tmp_path / "one.partial"
    partial.mkdir()
    with open(partial / "preprocess.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"another run is preprocessing {tmp_path / 'one'}; wait for it"):
            main(flags_of(dataset, f"--output_dir={tmp_path / 'one'}"))
        main(flags_of(dataset, f"--output_dir={tmp_path / 'two'}"))
    assert digests(tmp_path / "two") == digests(dataset)


def test_a_folder_that_cannot_be_created_is_an_error_without_kept_work(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        main(flags_of(dataset, f"--output_dir={tmp_path / 'file' / 'out'}"))
    assert str(caught.value) == (
        f"--output_dir={tmp_path}/file/out cannot be written: {tmp_path}/file: is a file, a folder is wanted; name a "
        "folder for the MindRecord files with --output_dir elsewhere"
    )


def test_a_folder_whose_path_is_too_long_for_mindrecord_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "train.txt").write_text(make_rows(200, 3, 4, seed=5))
    out = tmp_path / ("x" * 200) / ("y" * 250)
    with pytest.raises(UserError, match="is longer than the 500 bytes that MindRecord takes"):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", f"--output_dir={out}"])
    assert "read:" not in capsys.readouterr().out
    # The index of the longest name in the work folder of MindRecord has just as many bytes as are allowed.
    rest = 500 - len(os.fsencode(tmp_path / "z.partial" / "unfinished" / "valid_input_part.mindrecord00.db"))
    folder = tmp_path / ("x" * 200)
    out = folder / ("y" * (rest - 200))
    main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", f"--output_dir={out}", "--line_per_sample=10"])
    assert DatasetMeta.load(out).lines == 200
