# SPDX-License-Identifier: Apache-2.0
"""Copies to and from a real S3 server that fails in all the ways that we could think of."""

import os
import random
import threading

import pytest

from src.common import files
from src.common.errors import UserError
from src.modelarts import transfer
from src.modelarts.inputs import list_files
from src.modelarts.object_store import RefusedError, S3Store, StoredFile, StoreError, open_store
from src.modelarts.transfer import LocalCopy, check_same, send
from tests.s3_server import for_a_while


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
    send(store, folder, list(contents), f"{bucket}/data")
    return contents


@pytest.fixture
def fetch(store, bucket, tmp_path, monkeypatch):
    """Copy the files in the bucket to tmp_path/copy, and return what is there by name."""
    monkeypatch.setattr(transfer, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(transfer, "LONGEST_DELAY", 0.1)

    def fetch_all():
        address, files = list_files(f"{bucket}/data", store)
        LocalCopy(store, address, tmp_path / "copy").update(files)
        return content_of(tmp_path / "copy")

    return fetch_all


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "rule",
    [
        for_a_while("500 InternalError", 20),
        for_a_while("503 SlowDown", 20),
        for_a_while("drop", 5, "GET", "part/7"),
        for_a_while("drop", 30, "GET"),
    ],
    ids=["500", "503", "one object dropped", "all dropped"],
)
def test_a_store_that_fails_for_a_while_is_asked_again(s3_server, stored, fetch, rule):
    with s3_server.failing(rule):
        assert fetch() == stored
    assert rule("GET", "/b/part/7") is None  # all of the faults have happened


def test_a_store_that_is_away_for_a_while_is_waited_for(s3_server, stored, fetch):
    s3_server.stop()
    timer = threading.Timer(3, s3_server.start)
    timer.start()
    assert fetch() == stored
    timer.join()


def test_patience_ends(s3_server, stored, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PATIENCE_SECONDS", 0.3)
    with s3_server.failing(for_a_while("500 InternalError", 10**6, "GET", "part/3")), pytest.raises(StoreError):
        fetch()
    assert not (tmp_path / "copy" / "part" / "3").exists()
    assert fetch() == stored


def test_refused_credentials_are_not_tried_again(s3_server, stored, bucket):
    refused = S3Store(s3_server.environment["OBS_ENDPOINT"], "another-key", "another-secret")
    s3_server.requests.clear()
    with pytest.raises(RefusedError, match="refuses the credentials") as caught:
        list_files(f"{bucket}/data", refused)
    assert s3_server.requests.total() == 1
    assert "another-key" not in str(caught.value)


def test_only_what_is_missing_or_changed_is_copied_again(s3_server, store, stored, fetch, bucket, tmp_path):
    fetch()
    (tmp_path / "copy" / "part" / "2").unlink()
    (tmp_path / "copy" / "part" / "3").write_bytes(b"cut off")
    (tmp_path / "origin" / "part" / "4").write_bytes(bytes(4001))  # as long as before
    send(store, tmp_path / "origin", ["part/4"], f"{bucket}/data")
    store.remove(f"{bucket}/data/part/5")
    s3_server.requests.clear()
    del stored["part/5"]
    assert fetch() == stored | {"part/4": bytes(4001)}
    got = {path.rpartition("/")[2] for method, path in s3_server.requests if method == "GET" and "/part/" in path}
    assert got == {"2", "3", "4"}


def test_what_was_whole_when_one_failed_is_not_copied_again(s3_server, stored, fetch, monkeypatch):
    monkeypatch.setattr(transfer, "AT_ONCE", 1)
    monkeypatch.setattr(transfer, "PATIENCE_SECONDS", 0.1)
    with s3_server.failing(for_a_while("drop", 10**6, "GET", "part/9")), pytest.raises(StoreError):
        fetch()
    s3_server.requests.clear()
    assert fetch() == stored
    assert s3_server.count("GET", "part/0") == 0
    assert s3_server.count("GET", "part/9") == 1


def test_several_are_copied_at_once(s3_server, stored, fetch):
    together = threading.Barrier(transfer.AT_ONCE)

    def rule(method, path):
        return "hold" if method == "GET" and "/part/" in path and not s3_server.released.is_set() else None

    def release():
        waiting = lambda: sum(n for (method, path), n in s3_server.requests.items() if "/part/" in path)  # noqa: E731
        while waiting() < transfer.AT_ONCE:
            threading.Event().wait(0.01)
        together.abort()
        s3_server.released.set()

    s3_server.requests.clear()
    threading.Thread(target=release, daemon=True).start()
    with s3_server.failing(rule):
        assert fetch() == stored
    assert together.broken


def test_a_folder_of_somebody_else_is_left_alone(stored, fetch, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "thesis.txt").write_text("of years")
    with pytest.raises(UserError, match="holds other files"):
        fetch()
    assert content_of(tmp_path / "copy") == {"thesis.txt": b"of years"}


def test_a_disk_that_is_too_small(stored, fetch, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000, "total": 1000})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match="has room for"):
        fetch()
    assert content_of(tmp_path / "copy") == {}


def test_sizes_and_digests_are_compared(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello")
    check_same("obs://b/f", StoredFile(5, "tag", "5d41402abc4b2a76b9719d911017c592"), path)
    check_same("obs://b/f", StoredFile(5), path)
    for other in (None, StoredFile(4), StoredFile(5, "tag", "0" * 32)):
        with pytest.raises(StoreError):
            check_same("obs://b/f", other, path)


def test_a_single_file_and_an_address_of_nothing(stored, store, bucket):
    parent, files = list_files(f"{bucket}/data/part/3", store)
    assert (parent, list(files)) == (f"{bucket}/data/part", ["3"])
    with pytest.raises(UserError, match="there is nothing"):
        list_files(f"{bucket}/dat", store)


def test_addresses_with_credentials_are_refused(store):
    with pytest.raises(UserError, match="belong into the environment"):
        store.list("s3://key:secret@bucket/x")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "need moxing, or one of OBS_ENDPOINT and AWS_ENDPOINT_URL"),
        ({"OBS_ENDPOINT": "x", "OBS_ACCESS_KEY_ID": "y"}, "OBS_ENDPOINT is set, but not OBS_SECRET_ACCESS_KEY"),
    ],
)
def test_what_is_missing_in_the_environment_is_named(environment, message):
    with pytest.raises(UserError, match=message):
        open_store(environment)
