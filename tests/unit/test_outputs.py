# SPDX-License-Identifier: Apache-2.0
"""Results that go out while a job runs, to a real S3 server, and come back at its next start."""

import errno
import json
import os
import shutil

import pytest

from src.common.errors import UserError
from src.modelarts import outputs, transfer
from src.modelarts.object_store import open_store
from src.modelarts.outputs import ResultsCopy, Uploader
from tests.s3_server import for_a_while, wait_until
from tests.unit.test_transfer import content_of

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
    found = copy.store.list(copy.url)
    return {name: copy.store._files.cat_file(f"{copy.url}/{name}".partition("://")[2]) for name in found}


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


def test_all_that_is_there_arrives_and_what_is_gone_goes(copy):
    uploader = Uploader(copy)
    for step in range(1, 5):
        work(copy.folder, step)
        uploader.submit()
    (copy.folder / "checkpoint" / "deepfm-9.ckpt.tmp").write_bytes(b"half")
    uploader.close(20)
    (copy.folder / "checkpoint" / "deepfm-9.ckpt.tmp").unlink()
    assert at_address(copy) == content_of(copy.folder)
    assert set(at_address(copy)) == {"checkpoint/deepfm-3.ckpt", "checkpoint/deepfm-4.ckpt", "checkpoint/model.json",
                                     "loss.log"}  # fmt: skip


def test_what_others_put_there_stays(copy, bucket, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    copy.store.put(tmp_path / "notes.txt", f"{copy.url}/notes.txt")
    copy.restore(RESULTS)
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    assert at_address(copy)["notes.txt"] == b"mine"
    assert not (copy.folder / "notes.txt").exists()


def test_whoever_reads_in_between_finds_checkpoints_and_index_that_belong_together(copy, monkeypatch):
    missing = []

    def look_before(change):
        def changed(*arguments):
            content = at_address(copy)
            if "checkpoint/model.json" in content:
                named = {f"checkpoint/{name}" for name in json.loads(content["checkpoint/model.json"])}
                missing.append(named - set(content))
            change(*arguments)

        return changed

    monkeypatch.setattr(transfer, "AT_ONCE", 1)
    copy.store.put, copy.store.remove = look_before(copy.store.put), look_before(copy.store.remove)
    uploader = Uploader(copy)
    for step in range(1, 5):
        work(copy.folder, step)
        uploader.submit()
        wait_until(lambda: uploader._newest is None)
    uploader.close(20)
    assert len(missing) > 5
    assert not any(missing)


def test_an_upload_that_fails_goes_on_later_and_does_not_stop_the_work(copy, s3_server, capsys):
    uploader = Uploader(copy)
    with s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")):
        for step in range(1, 4):
            work(copy.folder, step)
            uploader.submit()
        wait_until(lambda: s3_server.count("PUT", "loss.log") > 1)
        assert at_address(copy) == {}
    uploader.close(20)
    assert at_address(copy) == content_of(copy.folder)
    output = capsys.readouterr().out
    assert output.count("results are not sent for now, trying again") == 1
    assert "results are sent again" in output


def test_what_arrived_of_an_upload_that_failed_goes_when_it_is_gone_here(copy, s3_server):
    uploader = Uploader(copy)
    with s3_server.failing(for_a_while("500 InternalError", 10**6, "PUT", "loss.log")):
        work(copy.folder, 1)
        uploader.submit()
        wait_until(lambda: s3_server.count("PUT", "loss.log") > 1)
        assert "checkpoint/deepfm-1.ckpt" in at_address(copy)
        (copy.folder / "checkpoint" / "deepfm-1.ckpt").unlink()
        work(copy.folder, 4)
    uploader.close(20)
    assert at_address(copy) == content_of(copy.folder)


def test_a_disk_without_room_for_a_snapshot_does_not_stop_the_work(copy, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    uploader = Uploader(copy)
    work(copy.folder, 1)
    with monkeypatch.context() as full:
        full.setattr(outputs.os, "link", refuse)
        uploader.submit()
        assert "not sent for now: [Errno 28] No space" in capsys.readouterr().out
        with pytest.raises(OSError, match="No space"):
            uploader.close(20)
    uploader.close(20)
    assert at_address(copy) == content_of(copy.folder)


def test_what_was_never_sent_is_said_and_gone_on_with(copy, s3_server, bucket):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    with (
        s3_server.failing(for_a_while("507 InsufficientStorage", 10**6, "PUT")),
        pytest.raises(OSError, match=r"have not been sent: .*InsufficientStorage"),
    ):
        uploader.close(0.5)
    again = ResultsCopy(copy.store, copy.url, copy.folder)
    again.restore(RESULTS)
    assert (copy.folder / "loss.log").read_text() == "1\n"
    Uploader(again).close(20)
    assert at_address(copy) == content_of(copy.folder)
    other = ResultsCopy(copy.store, f"{bucket}/other", copy.folder)
    other.restore(RESULTS)  # all was sent, so the folder is free for another job
    assert content_of(copy.folder) == {}


def test_a_folder_that_was_lost_is_restored_and_nothing_removed_at_the_address(copy, tmp_path):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    copy.mark()
    before = at_address(copy)
    shutil.rmtree(copy.folder)
    again = ResultsCopy(copy.store, copy.url, copy.folder)
    again.restore(RESULTS)
    Uploader(again).close(20)
    assert at_address(copy) == content_of(copy.folder) == before


def test_results_of_another_job_that_were_not_sent_are_not_lost(copy, bucket):
    work(copy.folder, 1)
    copy.mark()
    with pytest.raises(UserError, match="were not sent to"):
        ResultsCopy(copy.store, f"{bucket}/other", copy.folder).restore(RESULTS)
    assert (copy.folder / "loss.log").exists()


def test_another_machine_gets_the_newest(copy, bucket, tmp_path):
    uploader = Uploader(copy)
    work(copy.folder, 1)
    uploader.close(20)
    other = ResultsCopy(open_store(os.environ), copy.url, tmp_path / "other" / "train")
    (tmp_path / "other").mkdir()
    other.restore(RESULTS)
    assert content_of(other.folder) == content_of(copy.folder)
    uploader = Uploader(other)
    work(other.folder, 2)
    uploader.close(20)
    copy.restore(RESULTS)
    assert content_of(copy.folder) == content_of(other.folder)
