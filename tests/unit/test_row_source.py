# SPDX-License-Identifier: Apache-2.0
import gzip
import io
import os
import tarfile
import threading

import pytest

from src.preprocessing.chunks import START
from src.preprocessing.schema import FieldSchema
from src.scoring import row_source
from src.scoring.row_source import RowSource
from tests.raw_data import archive_of

SCHEMA = FieldSchema.criteo(0, 1)


def text_of(source, start=START):
    return b"".join(chunk.rows for chunk in source.chunks(SCHEMA, start))


@pytest.mark.parametrize(
    ("name", "pack"), [("rows.txt", bytes), ("rows.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)]
)
def test_every_packing_gives_the_rows_from_any_byte_on(tmp_path, monkeypatch, name, pack):
    monkeypatch.setattr(row_source, "CHUNK_BYTES", 50)
    content = b"".join(b"%d\ta\n" % number for number in range(100))
    (tmp_path / name).write_bytes(pack(content))
    source = RowSource.find(str(tmp_path / name))
    assert text_of(source) == content
    chunks = list(source.chunks(SCHEMA))
    assert text_of(source, chunks[4].end) == b"".join(chunk.rows for chunk in chunks[5:])
    assert max(len(chunk.rows) for chunk in chunks) < 60


def test_of_an_archive_test_txt_is_taken_if_it_has_one(tmp_path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("train.txt", "test.txt"):
            info = tarfile.TarInfo(name)
            info.size = 9
            archive.addfile(info, io.BytesIO(name[:8].encode() + b"\n"))
    path = tmp_path / "dac.tar.gz"
    path.write_bytes(packed.getvalue())
    source = RowSource.find(str(path))
    assert text_of(source) == b"test.txt\n"
    path.write_bytes(archive_of(b"1\t2\n"))
    assert text_of(RowSource.find(str(path))) == b"1\t2\n"


def test_a_pipe_is_read_once_and_has_no_identity(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    source = RowSource.find(str(tmp_path / "pipe"))
    assert source.identity() is None and not source.is_file
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[b"1\ta\n2\tb"])
    writer.start()
    assert text_of(source) == b"1\ta\n2\tb\n"
    writer.join()


def test_the_identity_changes_with_the_file(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes(b"1\n")
    identity = RowSource.find(str(path)).identity()
    assert RowSource.find(str(tmp_path / "." / "rows.txt")).identity() == identity
    path.write_bytes(b"1\n2\n")
    assert RowSource.find(str(path)).identity() != identity


def test_stdin_has_a_name_and_no_identity():
    source = RowSource.find("-")
    assert (str(source), source.identity(), source.is_file) == ("stdin", None, False)
