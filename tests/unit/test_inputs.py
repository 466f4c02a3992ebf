# SPDX-License-Identifier: Apache-2.0
"""Which files are the data of a job, and that one process of a host fetches them."""

import multiprocessing
import os
import signal
import time

import pytest

from src.common.errors import UserError
from src.modelarts.inputs import JobData, fetch_data, folder_lock
from src.modelarts.object_store import StoreAddress, open_store
from src.modelarts.transfer import upload
from tests.file_trees import read_files, write_files, write_zip
from tests.s3_server import for_a_while

MINDRECORD = {"dataset_meta.json": b"{}", "train_input_part.mindrecord0": b"records", "vocabulary.tsv": b"C1"}
RAW = {"train.txt": b"1\t2\n"}
DAYS = {"day_1.csv": b"click\n1\n", "day_2.csv.gz": b"x"}


def below(prefix, contents):
    return {prefix + name: content for name, content in contents.items()}


@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (MINDRECORD, MINDRECORD),
        (below("criteo/mindrecord/", MINDRECORD) | {"readme.md": b"x", "train.txt": b"other"}, MINDRECORD),
        (RAW, RAW),
        (below("origin_data/", RAW) | {"notes": b"x"}, RAW),
        (below("days/", DAYS) | {"schema.yaml": b"label: click", "README.txt": b"x"}, DAYS),
    ],
    ids=["mindrecord", "mindrecord deeper", "raw", "raw deeper", "days"],
)
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_mindrecord_zip_and_raw_rows_are_recognised(bucket, tmp_path, contents, expected, zipped, remote):
    origin = tmp_path / "origin"
    if zipped:
        origin.mkdir()
        write_zip(origin / "data.zip", contents)
    else:
        write_files(origin, contents)
    source, folder = origin, tmp_path / "cache"
    if remote:
        source = StoreAddress(open_store(os.environ), f"{bucket}/data")
        upload(source.store, origin, list(read_files(origin)), source.url)
    folder.mkdir()
    for _ in range(2):  # the second time as after a restart
        data = fetch_data(source, folder)
        assert data.is_raw == (expected is not MINDRECORD)
        assert read_files(data.folder).items() >= expected.items()
    assert not data.is_raw or data.folder == folder / "origin_data"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({}, "holds neither"),
        ({"a.zip": b"", "b.zip": b""}, "several .zip files, a.zip, b.zip"),
        ({"a.zip": b"no zip"}, "is damaged"),
    ],
)
def test_a_folder_without_data_or_with_several_archives_is_refused(tmp_path, contents, message):
    write_files(tmp_path / "origin", contents)
    with pytest.raises(UserError, match=message):
        fetch_data(tmp_path / "origin", tmp_path / "cache")
    assert not (tmp_path / "cache" / "unpacked").exists()


def test_a_zip_in_a_zip_is_refused(tmp_path):
    inner = write_zip(tmp_path / "inner.zip", MINDRECORD)
    (tmp_path / "origin").mkdir()
    write_zip(tmp_path / "origin" / "data.zip", {"inner.zip": inner.read_bytes()})
    with pytest.raises(UserError, match=r"the \.zip contains another \.zip"):
        fetch_data(tmp_path / "origin", tmp_path / "cache")


def test_changed_data_at_the_same_address_are_downloaded(bucket, tmp_path):
    store = open_store(os.environ)
    write_files(tmp_path / "origin", MINDRECORD)
    upload(store, tmp_path / "origin", list(MINDRECORD), bucket)
    fetch_data(StoreAddress(store, bucket), tmp_path / "cache")
    (tmp_path / "origin" / "vocabulary.tsv").write_bytes(b"C2")
    upload(store, tmp_path / "origin", ["vocabulary.tsv"], bucket)
    data = fetch_data(StoreAddress(store, bucket), tmp_path / "cache")
    assert data == JobData(tmp_path / "cache" / "downloaded", is_raw=False)
    assert (data.folder / "vocabulary.tsv").read_bytes() == b"C2"


def fetch_as_a_rank(url, folder):
    """Do as each process of a job does; for multiprocessing."""
    with folder_lock(folder):
        data = fetch_data(StoreAddress(open_store(os.environ), url), folder)
    assert (data.folder / "vocabulary.tsv").read_bytes() == MINDRECORD["vocabulary.tsv"]


def start_rank(url, folder):
    process = multiprocessing.get_context("spawn").Process(target=fetch_as_a_rank, args=(url, folder))
    process.start()
    return process


def test_one_of_several_processes_downloads(s3_server, bucket, tmp_path):
    write_files(tmp_path / "origin", MINDRECORD)
    upload(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/d")
    ranks = [start_rank(f"{bucket}/d", tmp_path / "cache") for _ in range(3)]
    for rank in ranks:
        rank.join(100)
    assert [rank.exitcode for rank in ranks] == [0] * 3
    assert [s3_server.count("GET", f"/d/{name}") for name in MINDRECORD] == [1, 1, 1]


def test_when_the_downloading_process_is_killed_another_takes_over(s3_server, bucket, tmp_path):
    write_files(tmp_path / "origin", MINDRECORD)
    upload(open_store(os.environ), tmp_path / "origin", list(MINDRECORD), f"{bucket}/d")
    with s3_server.failing(for_a_while("hold", 1, "GET", "vocabulary.tsv")):
        first = start_rank(f"{bucket}/d", tmp_path / "cache")
        while not s3_server.count("GET", "vocabulary.tsv"):
            time.sleep(0.02)
        second = start_rank(f"{bucket}/d", tmp_path / "cache")
        time.sleep(0.5)
        os.kill(first.pid, signal.SIGKILL)
        second.join(60)
    assert (first.join(), first.exitcode, second.exitcode) == (None, -signal.SIGKILL, 0)


def test_waiting_for_the_lock_of_a_folder_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr("src.modelarts.inputs.WAIT_SECONDS", 0.5)
    with folder_lock(tmp_path), pytest.raises(UserError, match="another process"), folder_lock(tmp_path):
        pass
    with folder_lock(tmp_path):
        pass
