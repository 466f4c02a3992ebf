# SPDX-License-Identifier: Apache-2.0
"""Results that are uploaded to a real S3 server while a job runs, and restored at its next start."""

import errno
import json
import os
import pathlib
import shutil
import tempfile

import pytest

from src.common.errors import UserError
from src.modelarts import outputs, transfer
from src.modelarts.object_store import open_store
from src.modelarts.outputs import ResultsCopy, Uploader
from tests.file_trees import read_files
from tests.s3_server import for_a_while, wait_until

RESULTS = ("checkpoint", "loss.log")


@pytest.fixture
def copy(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "FIRST_DELAY", 0.05)
    monkeypatch.setattr(transfer, "LONGEST_DELAY", 0.1)
    copy = ResultsCopy(open_store(os.environ), f"{bucket}/job/out/", tmp_path / "train")
    copy.restore(RESULTS)
    return copy


def at_address(copy):
    """Return what is at the address of results, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "file")
        contents = {}
        for name in copy.store.list(copy.url):
            copy.store.get(f"{copy.url}/{name}", path)
            contents[name] = path.read_bytes()
    return contents


def work(folder, step):
    """Write what training writes; keep two checkpoints."""
    checkpoints = folder / "checkpoint"
    checkpoints.mkdir(exist_ok=True)
    (checkpoints / f"deepfm-{step}.ckpt").write_bytes(bytes([step]) * 1000)
    (checkpoints / f"deepfm-{step - 2}.ckpt").unlink(missing_ok=True)
    names = sorted(path.name for path in checkpoints.glob("*.ckpt"))
    (checkpoints / "model.json").write_text(json.dumps(names))
    with open(folder / "loss.log", "a") as log:
        log.write(f"{step}\n")


def test_every_result_is_uploaded_and_a_removed_one_is_deleted(copy):
    uploader = Uploader(copy)
    for step in range(1, 5):
        work(copy.folder, step)
        uploader.submit()
    (copy.folder / "checkpoint" / "deepfm-9.ckpt.tmp").write_bytes(b"half")
    uploader.close(20)
    (copy.folder / "checkpoint" / "deepfm-9.ckpt.tmp").unlink()
    assert at_address(copy) == read_files(copy.folder)
    assert set(at_address(copy)) == {"checkpoint/deepfm-3.ckpt", "checkpoint/deepfm-4.ckpt", "checkpoint/model.json",
                                     "loss.log"}  # fmt: skip


def test_files_of_others_at_the_address_are_kept(copy, bucket, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    copy.store.put(tmp_path / "notes.txt", f"{copy.url}/notes.txt")
    copy.restore(RESULTS)
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    assert at_address(copy)["notes.txt"] == b"mine"
    assert not (copy.folder / "notes.txt").exists()


def test_the_index_at_the_address_never_names_a_missing_checkpoint(copy, monkeypatch):
    missing = []

    def check_before(change):
        def changed(*arguments):
            content = at_address(copy)
            if "checkpoint/model.json" in content:
                named = {f"checkpoint/{name}" for name in json.loads(content["checkpoint/model.json"])}
                missing.append(named - set(content))
            change(*arguments)

        return changed

    monkeypatch.setattr(transfer, "PARALLEL_COPIES", 1)
    copy.store.put, copy.store.remove = check_before(copy.store.put), check_before(copy.store.remove)
    uploader = Uploader(copy)
    for step in range(1, 5):
        work(copy.folder, step)
        uploader.submit()
        wait_until(lambda: uploader.is_idle)
    uploader.close(20)
    assert len(missing) > 5
    assert not any(missing)


def test_a_failing_upload_is_retried_and_does_not_stop_the_work(copy, s3_server, capsys):
    uploader = Uploader(copy)
    with s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")):
        for step in range(1, 4):
            work(copy.folder, step)
            uploader.submit()
        wait_until(lambda: s3_server.count("PUT", "loss.log") > 1)
        assert at_address(copy) == {}
    uploader.close(20)
    assert at_address(copy) == read_files(copy.folder)
    output = capsys.readouterr().out
    assert output.count("results are not uploaded for now, trying again") == 1
    assert "results are uploaded again" in output


def test_a_file_of_a_failed_upload_is_deleted_once_it_is_removed_here(copy, s3_server):
    uploader = Uploader(copy)
    with s3_server.failing(for_a_while("500 InternalError", 10**6, "PUT", "loss.log")):
        work(copy.folder, 1)
        uploader.submit()
        wait_until(lambda: s3_server.count("PUT", "loss.log") > 1)
        assert "checkpoint/deepfm-1.ckpt" in at_address(copy)
        (copy.folder / "checkpoint" / "deepfm-1.ckpt").unlink()
        work(copy.folder, 4)
    uploader.close(20)
    assert at_address(copy) == read_files(copy.folder)


def test_a_disk_without_room_for_a_snapshot_does_not_stop_the_work(copy, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    uploader = Uploader(copy)
    work(copy.folder, 1)
    with monkeypatch.context() as full:
        full.setattr(outputs.os, "link", refuse)
        uploader.submit()
        assert "not uploaded for now: [Errno 28] No space" in capsys.readouterr().out
        with pytest.raises(OSError, match="No space"):
            uploader.close(20)
    uploader.close(20)
    assert at_address(copy) == read_files(copy.folder)


def test_results_that_were_not_uploaded_are_reported_and_uploaded_by_the_next_start(copy, s3_server, bucket):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    with (
        s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")),
        pytest.raises(OSError, match=r"have not been uploaded: .*InsufficientStorage"),
    ):
        uploader.close(0.5)
    again = ResultsCopy(copy.store, copy.url, copy.folder)
    again.restore(RESULTS)
    assert (copy.folder / "loss.log").read_text() == "1\n"
    Uploader(again).close(20)
    assert at_address(copy) == read_files(copy.folder)
    other = ResultsCopy(copy.store, f"{bucket}/other", copy.folder)
    other.restore(RESULTS)  # all was sent, so the folder is free for another job
    assert read_files(copy.folder) == {}


def test_a_lost_folder_is_restored_and_nothing_is_deleted_at_the_address(copy, tmp_path):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    copy.mark_unsent()
    before = at_address(copy)
    shutil.rmtree(copy.folder)
    again = ResultsCopy(copy.store, copy.url, copy.folder)
    again.restore(RESULTS)
    Uploader(again).close(20)
    assert at_address(copy) == read_files(copy.folder) == before


def test_results_of_another_job_that_were_not_uploaded_are_kept(copy, bucket):
    work(copy.folder, 1)
    copy.mark_unsent()
    with pytest.raises(UserError, match="were not uploaded to"):
        ResultsCopy(copy.store, f"{bucket}/other", copy.folder).restore(RESULTS)
    assert (copy.folder / "loss.log").exists()


def test_another_host_restores_the_newest_results(copy, bucket, tmp_path):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    other = ResultsCopy(open_store(os.environ), copy.url, tmp_path / "other" / "train")
    (tmp_path / "other").mkdir()
    other.restore(RESULTS)
    assert read_files(other.folder) == read_files(copy.folder)
    uploader = Uploader(other)
    work(other.folder, 2)
    uploader.close(20)
    copy.restore(RESULTS)
    assert read_files(copy.folder) == read_files(other.folder)
