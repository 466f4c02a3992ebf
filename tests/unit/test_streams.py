# SPDX-License-Identifier: Apache-2.0
import bz2
import gzip
import io
import tarfile
import zipfile

import pytest
import zstandard

from src.common.errors import UserError
from src.preprocessing.streams import damage_named, is_archive, is_packed, open_streams
from tests.raw_data import archive_of


def tar_of(files, mode="w"):
    """Return the bytes of a .tar of (name, content)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zip_of(files):
    """Return the bytes of a .zip of (name, content)."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        for name, content in files:
            archive.writestr(name, content)
    return packed.getvalue()


def texts_of(path, members=("train.txt",)):
    with open(path, "rb") as file, damage_named(path):
        return [(name, stream.read()) for name, stream in open_streams(path, file, members)]


CONTENT = b"".join(b"%d\t%d\n" % (row, row * row) for row in range(20_000))
PACKINGS = {
    "rows.txt": bytes,
    "rows.txt.gz": gzip.compress,
    "rows.txt.bz2": bz2.compress,
    "rows.txt.zst": lambda content: zstandard.compress(content[:1000]) + zstandard.compress(content[1000:]),
    "rows.tar.gz": archive_of,
    "rows.tgz": archive_of,
    "rows.tar": lambda content: tar_of([("rows.txt", content)]),
    "rows.tar.bz2": lambda content: bz2.compress(tar_of([("rows.txt", content)])),
    "rows.tar.zst": lambda content: zstandard.compress(tar_of([("rows.txt", content)])),
    "rows.zip": lambda content: zip_of([("rows.txt", content)]),
}


@pytest.mark.parametrize("name", PACKINGS)
def test_every_packing_gives_the_same_text(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PACKINGS[name](CONTENT))
    assert [text for _, text in texts_of(path)] == [CONTENT]
    assert is_packed(path) == (name != "rows.txt")
    assert is_archive(path) == (".tar" in name or name.endswith(("tgz", "zip")))


@pytest.mark.parametrize("name", [name for name in PACKINGS if name not in ("rows.txt", "rows.tar")])
def test_a_truncated_file_and_one_of_another_format_are_refused(tmp_path, name):
    path = tmp_path / name
    packed = PACKINGS[name](CONTENT)
    for content in (packed[: len(packed) // 2], b"0\t1\t2\ta\tb\n" * 100):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is damaged or truncated"):
            texts_of(path)


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_of_an_archive_the_named_text_is_read_alone_or_all_texts_in_its_order(tmp_path, pack):
    path = tmp_path / ("rows.tar" if pack is tar_of else "rows.zip")
    files = [("b/2.txt", b"2"), ("b/README.txt", b"-"), ("b/1.csv", b"1"), ("b/_SUCCESS.txt", b"-"), ("b/c.png", b"-")]
    path.write_bytes(pack(files))
    assert texts_of(path) == [("b/2.txt", b"2"), ("b/1.csv", b"1")]
    path.write_bytes(pack([*files, ("b/train.txt", b"train"), ("b/test.txt", b"test")]))
    assert texts_of(path) == [("b/train.txt", b"train")]
    assert texts_of(path, ("test.txt", "train.txt")) == [("b/test.txt", b"test")]
    path.write_bytes(pack([*files, ("b/train.txt", b"train")]))
    assert texts_of(path, ("test.txt", "train.txt")) == [("b/train.txt", b"train")]


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_an_archive_without_a_text_is_refused(tmp_path, pack):
    path = tmp_path / ("rows.tar" if pack is tar_of else "rows.zip")
    path.write_bytes(pack([("c.png", b"-")]))
    with pytest.raises(UserError, match=r"rows\.\w+: holds no a\.txt or b\.txt and no file that ends with \.txt"):
        texts_of(path, ("a.txt", "b.txt"))
