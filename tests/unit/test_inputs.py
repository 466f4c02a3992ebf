# SPDX-License-Identifier: Apache-2.0
"""Where the data of a job are found, and that one process of a machine brings them."""

import multiprocessing
import os
import pathlib
import signal
import time

import pytest

from src.common.errors import UserError
from src.modelarts.inputs import folder_lock, prepare_data
from src.modelarts.object_store import open_store
from src.modelarts.transfer import send
from tests.s3_server import for_a_while
from tests.unit.test_archive import pack

MINDRECORD = {"dataset_meta.json": b"{}", "train_input_part.mindrecord0": b"records", "vocabulary.tsv": b"C1"}
RAW = {"train.txt": b"1\t2\n"}


def write(folder, contents):
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def under(prefix, contents):
    return {prefix + name: content for name, content in contents.items()}


class Preprocessing:
    """Stands in for preprocessing: notes what it was given, makes the folder and returns it."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def __call__(self):
        raw = self.folder / "origin_data"
        self.seen.append({path.name: path.read_bytes() for path in raw.iterdir()})
        return write(self.folder / "mindrecord", MINDRECORD)


@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
@pytest.mark.parametrize(
    ("contents", "raw"),
    [
        (MINDRECORD, False),
        (under("criteo/mindrecord/", MINDRECORD) | {"readme.md": b"x", "train.txt": b"other"}, False),
        (RAW, True),
        (under("origin_data/", RAW) | {"notes": b"x"}, True),
    ],
    ids=["mindrecord", "mindrecord deeper", "raw", "raw deeper"],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_the_data_are_found(bucket, tmp_path, contents, raw, zipped, remote):
    origin = tmp_path / "origin"
    if zipped:
        origin.mkdir()
        pack(origin / "data.zip", contents)
    else:
        write(origin, contents)
    store = open_store(os.environ)
    url = str(origin)
    if remote:
        url = f"{bucket}/data"
        send(store, origin, [path.relative_to(origin).as_posix() for path in origin.rglob("*") if path.is_file()], url)
    folder = tmp_path / "cache"
    folder.mkdir()
    preprocessing = Preprocessing(folder)
    for _ in range(2):  # the second time as after a restart
        found = prepare_data(url, store, folder, preprocessing)
        assert {path.name: path.read_bytes() for path in found.iterdir()} == MINDRECORD
    assert all(seen["train.txt"] == RAW["train.txt"] for seen in preprocessing.seen)
    assert bool(preprocessing.seen) == raw
    assert (found == folder / "mindrecord") == raw


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({}, "holds neither"),
        ({"a.zip": b"", "b.zip": b""}, "several .zip files, a.zip, b.zip"),
        ({"a.zip": b"no zip"}, "is damaged"),
    ],
)
def test_data_that_are_none(tmp_path, contents, message):
    (tmp_path / "origin").mkdir()
    write(tmp_path / "origin", contents)
    with pytest.raises(UserError, match=message):
        prepare_data(str(tmp_path / "origin"), None, tmp_path / "cache", None)
    assert not (tmp_path / "cache" / "unpacked").exists()


def test_other_data_at_the_same_address_are_seen(bucket, tmp_path):
    store = open_store(os.environ)
    write(tmp_path / "origin", MINDRECORD)
    send(store, tmp_path / "origin", list(MINDRECORD), bucket)
    prepare_data(bucket, store, tmp_path / "cache", None)
    (tmp_path / "origin" / "vocabulary.tsv").write_bytes(b"C2")
    send(store, tmp_path / "origin", ["vocabulary.tsv"], bucket)
    found = prepare_data(bucket, store, tmp_path / "cache", None)
    assert (found / "vocabulary.tsv").read_bytes() == b"C2"


def bring_as_a_rank(bucket, folder):
    """Do what each process of a job does; for multiprocessing."""
    with folder_lock(folder):
        found = prepare_data(bucket, open_store(os.environ), folder, None)
    assert (found / "vocabulary.tsv").read_bytes() == MINDRECORD["vocabulary.tsv"]


def start_rank(bucket, folder):
    process = multiprocessing.get_context("spawn").Process(target=bring_as_a_rank, args=(bucket, folder))
    process.start()
    return process


def test_of_eight_processes_one_downloads(s3_server, bucket, tmp_path):
    write(tmp_path / "origin", MINDRECORD)
    send(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/d")
    ranks = [start_rank(f"{bucket}/d", tmp_path / "cache") for _ in range(8)]
    for rank in ranks:
        rank.join(100)
    assert [rank.exitcode for rank in ranks] == [0] * 8
    assert [s3_server.count("GET", f"/d/{name}") for name in MINDRECORD] == [1, 1, 1]


def test_when_the_one_that_downloads_is_killed_another_goes_on(s3_server, bucket, tmp_path):
    write(tmp_path / "origin", MINDRECORD)
    send(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/d")
    with s3_server.failing(for_a_while("hold", 1, "GET", "vocabulary.tsv")):
        first = start_rank(f"{bucket}/d", tmp_path / "cache")
        while not s3_server.count("GET", "vocabulary.tsv"):
            time.sleep(0.02)
        second = start_rank(f"{bucket}/d", tmp_path / "cache")
        time.sleep(0.5)
        os.kill(first.pid, signal.SIGKILL)
        second.join(60)
    assert (first.join(), first.exitcode, second.exitcode) == (None, -signal.SIGKILL, 0)


def test_waiting_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("src.modelarts.inputs.WAIT_SECONDS", 0.5)
    with folder_lock(tmp_path), pytest.raises(UserError, match="another process"), folder_lock(tmp_path):
        pass
    with folder_lock(pathlib.Path(tmp_path)):
        pass
