# SPDX-License-Identifier: Apache-2.0
"""Copies to and from a real S3 server that fails in many ways."""

import os
import random
import threading

import pytest

from src.common import files
from src.common.errors import UserError
from src.modelarts import transfer
from src.modelarts.inputs import list_files
from src.modelarts.object_store import RefusedError, S3Store, StoredFile, StoreError, open_store
from src.modelarts.transfer import LocalCopy, upload, verify
from tests.file_trees import read_files
from tests.s3_server import for_a_while, wait_until


@pytest.fixture
def store(bucket):
    return open_store(os.environ)


@pytest.fixture
def stored(store, bucket, tmp_path):
    """Twelve files in a bucket, by name."""
    contents = {f"part/{number}": random.Random(number).randbytes(1000 * number + 1) for number in range(12)}
    folder = tmp_path / "origin"
    (folder / "part").mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    upload(store, folder, list(contents), f"{bucket}/data")
    return contents


@pytest.fixture
def download(store, bucket, tmp_path, monkeypatch):
    """Copy the files in the bucket to tmp_path/copy, and return what is there by name."""
    monkeypatch.setattr(transfer, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(transfer, "LONGEST_DELAY", 0.1)

    def download_all():
        address, files = list_files(f"{bucket}/data", store)
        LocalCopy(store, address, tmp_path / "copy").update(files)
        return read_files(tmp_path / "copy")

    return download_all


@pytest.mark.parametrize(
    "rule",
    [
        for_a_while("500 InternalError", 13),  # the listing and each of the twelve files
        for_a_while("503 SlowDown", 13),
        for_a_while("drop", 5, "GET", "part/7"),
        for_a_while("drop", 13, "GET"),
    ],
    ids=["500", "503", "one object dropped", "all dropped"],
)
def test_a_failing_store_is_retried(s3_server, stored, download, rule):
    with s3_server.failing(rule):
        assert download() == stored
    assert rule("GET", "/b/part/7") is None  # all faults have happened


def test_an_unreachable_store_is_retried(s3_server, stored, download):
    s3_server.stop()
    timer = threading.Timer(1, s3_server.start)
    timer.start()
    assert download() == stored
    timer.join()


def test_retries_end_with_the_patience_and_leave_no_partial_file(s3_server, stored, download, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE_SECONDS", 0.3)
    with s3_server.failing(for_a_while("500 InternalError", 10**6, "GET", "part/3")), pytest.raises(StoreError):
        download()
    assert not (tmp_path / "copy" / "part" / "3").exists()
    assert download() == stored


def test_refused_credentials_are_not_retried(s3_server, stored, bucket):
    refused = S3Store(s3_server.environment["OBS_ENDPOINT"], "another-key", "another-secret")
    s3_server.requests.clear()
    with pytest.raises(RefusedError, match="refuses the credentials") as caught:
        list_files(f"{bucket}/data", refused)
    assert s3_server.requests.total() == 1
    assert "another-key" not in str(caught.value)


def test_only_missing_and_changed_files_are_downloaded_again(s3_server, store, stored, download, bucket, tmp_path):
    download()
    (tmp_path / "copy" / "part" / "2").unlink()
    (tmp_path / "copy" / "part" / "3").write_bytes(b"cut off")
    (tmp_path / "origin" / "part" / "4").write_bytes(bytes(4001))  # as long as before
    upload(store, tmp_path / "origin", ["part/4"], f"{bucket}/data")
    store.remove(f"{bucket}/data/part/5")
    s3_server.requests.clear()
    del stored["part/5"]
    assert download() == stored | {"part/4": bytes(4001)}
    got = {path.rpartition("/")[2] for method, path in s3_server.requests if method == "GET" and "/part/" in path}
    assert got == {"2", "3", "4"}


def test_files_that_were_complete_when_one_failed_are_not_downloaded_again(s3_server, stored, download, monkeypatch):
    monkeypatch.setattr(transfer, "PARALLEL_COPIES", 1)
    monkeypatch.setattr(transfer, "PATIENCE_SECONDS", 0.1)
    with s3_server.failing(for_a_while("drop", 10**6, "GET", "part/9")), pytest.raises(StoreError):
        download()
    s3_server.requests.clear()
    assert download() == stored
    assert s3_server.count("GET", "part/0") == 0
    assert s3_server.count("GET", "part/9") == 1


def test_several_files_are_downloaded_in_parallel(s3_server, stored, download):
    held = []

    def rule(method, path):
        return "hold" if method == "GET" and "/part/" in path and not s3_server.released.is_set() else None

    def release():
        wait_until(lambda: sum(n for (_, path), n in s3_server.requests.items() if "/part/" in path) >= 8)
        held.append(True)
        s3_server.released.set()

    s3_server.requests.clear()
    threading.Thread(target=release, daemon=True).start()
    with s3_server.failing(rule):
        assert download() == stored
    assert held  # eight requests were held at the same time


def test_a_folder_with_other_files_is_left_unchanged(stored, download, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "thesis.txt").write_text("of years")
    with pytest.raises(UserError, match="holds other files"):
        download()
    assert read_files(tmp_path / "copy") == {"thesis.txt": b"of years"}


def test_data_that_do_not_fit_the_disk_are_refused(stored, download, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000, "total": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="has room for"):
        download()
    assert read_files(tmp_path / "copy") == {}


def test_verification_compares_size_and_md5(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    verify("obs://b/f", StoredFile(5, "tag", "5d41402abc4b2a76b9719d911017c592"), path)
    verify("obs://b/f", StoredFile(5), path)
    for other in (None, StoredFile(4), StoredFile(5, "tag", "0" * 32)):
        with pytest.raises(StoreError):
            verify("obs://b/f", other, path)


def test_a_single_file_is_listed_alone_and_a_missing_address_refused(stored, store, bucket):
    parent, files = list_files(f"{bucket}/data/part/3", store)
    assert (parent, list(files)) == (f"{bucket}/data/part", ["3"])
    with pytest.raises(UserError, match="no such file or folder"):
        list_files(f"{bucket}/dat", store)


def test_addresses_with_credentials_are_refused(store):
    with pytest.raises(UserError, match="belong in the environment"):
        store.list("s3://key:secret@bucket/x")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "need moxing, or one of OBS_ENDPOINT and AWS_ENDPOINT_URL"),
        ({"OBS_ENDPOINT": "x", "OBS_ACCESS_KEY_ID": "y"}, "OBS_ENDPOINT is set, but not OBS_SECRET_ACCESS_KEY"),
    ],
)
def test_missing_credentials_are_named(environment, message):
    with pytest.raises(UserError, match=message):
        open_store(environment)
