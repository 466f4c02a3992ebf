# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.preprocessing.cluster.array_files import read_rows
from src.preprocessing.cluster.storage import is_address, storage_at


def test_parts_of_files_come_back(storage):
    storage.write("a/rows", b"0123456789")
    storage.write("b", b"xyz")
    assert storage.read("a/rows") == b"0123456789"
    assert storage.read("a/rows", 7) == b"789"
    assert storage.read("a/rows", -2) == b"89"
    assert storage.read_spans([("a/rows", 0, 3), ("b", 1, 3), ("a/rows", 9, 10)]) == [b"012", b"yz", b"9"]
    assert storage.read_spans([]) == []
    assert storage.read_existing(["b", "c", "a/rows"]) == [b"xyz", None, b"0123456789"]
    assert storage.read_existing([]) == []


def test_a_file_is_replaced_and_a_missing_or_a_short_one_is_an_error_that_names_it(storage):
    storage.write("rows", b"old content")
    storage.write("rows", b"new")
    assert storage.read("rows") == b"new"
    with pytest.raises(FileNotFoundError, match="shared/other"):
        storage.read("other")
    with pytest.raises(OSError, match="shared/rows is truncated"):
        storage.read_spans([("rows", 1, 4)])


def test_folders_are_listed_and_removed(storage):
    assert storage.names() == storage.names("a") == []
    for name in ("a/x/1", "a/x/2", "a/y", "b"):
        storage.write(name, b"0")
    assert storage.names() == ["a", "b"]
    assert storage.names("a") == ["x", "y"]
    storage.remove("a/x")
    storage.remove("b")
    storage.remove("c")
    assert (storage.names(), storage.names("a")) == (["a"], ["y"])
    storage.remove()
    storage.remove()
    assert storage.names() == []


def test_the_files_of_a_scratch_directory_appear_together(storage, tmp_path):
    with storage.scratch("task") as own:
        (own / "rows").write_bytes(b"1")
        (own / "result").write_bytes(b"2")
        assert "complete" not in storage.names("task")
        storage.publish(own, "task/complete", "result")
    assert storage.names("task") == ["complete"]
    assert not own.exists()
    storage.take("task/complete/rows", tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"1"


def test_the_last_file_is_uploaded_after_the_others(s3_server, bucket, tmp_path):
    store = storage_at(bucket.replace("obs://", "s3://") + "/shared")
    for name in ("a", "result", "z"):
        (tmp_path / name).write_bytes(b"1")
    s3_server.requests.clear()
    store.publish(tmp_path, "task/complete", "result")
    written = [path.rpartition("/")[2] for method, path in s3_server.requests if method == "PUT"]
    assert written == ["a", "z", "result"]


def test_a_request_that_the_store_refuses_names_the_address(s3_server, bucket):
    store = storage_at(bucket.replace("obs://", "s3://") + "/refused")
    with s3_server.failing(lambda method, path: "403 AccessDenied"):
        for request in (
            lambda: store.read("rows"),
            lambda: store.read_existing(["rows"]),
            lambda: store.write("rows", b"1"),
            lambda: store.names("a"),
        ):
            with pytest.raises(OSError, match=r"^s3://\S+/refused/"):
                request()


def test_an_unknown_kind_of_address_is_an_error():
    assert is_address("s3://bucket/folder")
    assert not is_address("/shared/folder:1")
    with pytest.raises(OSError, match=r"^nosuch://bucket: .*nosuch"):
        storage_at("nosuch://bucket")


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 7)])
def test_rows_of_arrays_are_read_without_the_rest(storage, tmp_path, shape):
    arrays = [np.random.default_rng(seed).integers(0, 2**32, shape).astype(np.uint32) for seed in range(2)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / "array.npy", array)
        storage.write(str(number), (tmp_path / "array.npy").read_bytes())
    for start, end in ((0, 50), (3, 4), (20, 50)):
        found = read_rows(storage, ["0", "1"], start, end)
        assert all(np.array_equal(rows, array[start:end]) for rows, array in zip(found, arrays))


def test_an_array_in_another_order_is_refused(storage, tmp_path):
    np.save(tmp_path / "array.npy", np.asfortranarray(np.zeros((3, 4))))
    storage.write("array", (tmp_path / "array.npy").read_bytes())
    with pytest.raises(ValueError, match="C order"):
        read_rows(storage, ["array"], 0, 1)
