# SPDX-License-Identifier: Apache-2.0
import gzip
import random

import pytest

from src.common.errors import UserError
from src.preprocessing.raw_file import find_member, find_source, read_chunks
from tests.raw_data import archive_of


@pytest.mark.parametrize(
    ("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)]
)
@pytest.mark.parametrize("chunk_bytes", [1, 13, 1 << 20])
def test_every_packing_gives_the_same_text(tmp_path, name, pack, chunk_bytes):
    content = b"".join(b"%d\t%d\t\ta\tb\r\n" % (i % 2, i) for i in range(200)) + b"1\t\t\tlast\tline"
    (tmp_path / name).write_bytes(pack(content))
    assert b"".join(chunk.data for chunk in read_chunks(tmp_path / name, chunk_bytes)) == content + b"\n"


@pytest.mark.parametrize(
    ("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)]
)
def test_a_chunk_knows_the_fraction_of_the_file_that_has_been_read(tmp_path, name, pack):
    dice = random.Random(1)
    content = b"".join(b"1\t%d\t\ta\t%x\n" % (line, dice.getrandbits(400)) for line in range(20_000))
    (tmp_path / name).write_bytes(pack(content))
    size = read = 0
    for chunk in read_chunks(tmp_path / name, 1 << 17):
        size += len(chunk.data)
        assert read <= chunk.fraction <= 1
        read = chunk.fraction
        assert read == pytest.approx(size / len(content), abs=0 if name == "train.txt" else 0.15)
    assert read == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("name", "pack"), [("train.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)])
def test_a_truncated_file_is_refused(tmp_path, name, pack):
    packed = pack(b"".join(b"%d\t%d\t\ta\tb\n" % (i % 2, i * i) for i in range(20000)))
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match="is damaged or truncated"):
        list(read_chunks(tmp_path / name, 1 << 20))


@pytest.mark.parametrize("name", ["train.txt.gz", "dac.tar.gz"])
def test_a_file_of_another_format_than_its_name_says_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"0\t1\t2\ta\tb\n" * 100)
    with pytest.raises(UserError, match="is damaged or truncated"):
        list(read_chunks(tmp_path / name, 1 << 20))


def test_an_archive_without_train_txt_is_refused(tmp_path):
    (tmp_path / "dac.tar.gz").write_bytes(archive_of(b"", name="test.txt"))
    with pytest.raises(UserError, match=r"holds no train\.txt"):
        list(read_chunks(tmp_path / "dac.tar.gz", 100))


def test_origin_data_is_searched_first(tmp_path):
    with pytest.raises(UserError, match="--data_path names the folder"):
        find_source(tmp_path)
    (tmp_path / "dac.tar.gz").touch()
    assert find_source(tmp_path) == tmp_path / "dac.tar.gz"
    (tmp_path / "origin_data").mkdir()
    (tmp_path / "origin_data" / "train.txt.gz").touch()
    assert find_source(tmp_path) == tmp_path / "origin_data" / "train.txt.gz"
    (tmp_path / "origin_data" / "train.txt").touch()
    assert find_source(f"{tmp_path}/") == tmp_path / "origin_data" / "train.txt"


def test_a_member_of_an_archive_is_found_by_the_first_name_that_it_has(tmp_path):
    path = tmp_path / "dac.tar.gz"
    path.write_bytes(archive_of(b"rows\n"))
    assert find_member(path, ["test.txt", "train.txt"]) == "train.txt"
    path.write_bytes(archive_of(b"rows\n", name="./dac/test.txt"))
    assert find_member(path, ["test.txt", "train.txt"]) == "test.txt"
    assert [chunk.data for chunk in read_chunks(path, 100, member="test.txt")] == [b"rows\n"]
    with pytest.raises(UserError, match=r"dac\.tar\.gz: holds no a\.txt or b\.txt"):
        find_member(path, ["a.txt", "b.txt"])
