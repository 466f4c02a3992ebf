# SPDX-License-Identifier: Apache-2.0
import os
import stat
import zipfile

import pytest

from src.common import files
from src.common.errors import UserError
from src.modelarts.archive import unpack
from tests.file_trees import write_zip


def test_unpacking_restores_every_file(tmp_path):
    members = {"a/b/c.txt": b"x" * 3_000_000, "empty": b"", "a/é.bin": os.urandom(1000)}
    unpack(write_zip(tmp_path / "x.zip", members), tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in members} == members


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("/tmp/evil", "leads out"),
        ("..\\evil", "leads out"),
        (link("evil"), "not a file but a link"),
    ],
)
def test_a_member_outside_the_folder_is_refused_before_anything_is_written(tmp_path, member, message):
    archive = write_zip(tmp_path / "x.zip", {"good": b"1", member: b"/etc/passwd"})
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=message):
        unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "x.zip"]


def test_an_archive_that_does_not_fit_the_disk_is_refused(tmp_path, monkeypatch):
    archive = write_zip(tmp_path / "x.zip", {"zeros": bytes(50_000_000)})
    assert archive.stat().st_size < 100_000
    usage = type("Usage", (), {"free": 20_000_000, "total": 10**9})
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"needs 0\.1 GB"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "byte", "text"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    archive = write_zip(tmp_path / "x.zip", {"a": os.urandom(10_000)}, zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    if damage == "byte":
        content[5000] ^= 1
    archive.write_bytes({"truncated": content[:5000], "byte": content, "text": b"no zip"}[damage])
    with pytest.raises(UserError, match="is damaged or no readable zip"):
        unpack(archive, tmp_path / "out")
