# SPDX-License-Identifier: Apache-2.0
"""The same rows in files of all kinds: the bytes of the result depend on the rows alone."""

import bz2
import gzip
import io
import tarfile
import zipfile

import polars as pl
import pytest
import zstandard

from src.criteo_like import write_rows
from src.preprocess_data import main
from tests.raw_data import data_digests

COLUMNS = ["label", *(f"I{number}" for number in range(1, 14)), *(f"C{number}" for number in range(1, 27))]


def preprocess(data_path, folder, *flags):
    main([f"--data_path={data_path}", f"--output_dir={folder}", "--line_per_sample=50", "--threshold=3",
          "--train_line_count=0", *flags])  # fmt: skip
    return data_digests(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """2,000 rows as text, and the digests of their result."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "train.txt", 2000, seed=4)
    return (folder / "train.txt").read_bytes(), preprocess(folder, folder / "out")


def frame_of(text):
    types = dict.fromkeys(COLUMNS[:14], pl.Int64) | dict.fromkeys(COLUMNS[14:], pl.String)
    return pl.read_csv(text, separator="\t", has_header=False, schema=types, quote_char=None)


def parts_of(text, count):
    lines = text.splitlines(keepends=True)
    return [b"".join(lines[len(lines) * part // count : len(lines) * (part + 1) // count]) for part in range(count)]


def write_parts(folder, text):
    for number, part in enumerate(parts_of(text, 24)):
        (folder / f"part-{number}.txt").write_bytes(part)


def write_zip(folder, text):
    with zipfile.ZipFile(folder / "days.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, part in enumerate(parts_of(text, 3)):
            archive.writestr(f"log/day_{number}.txt", part)


def write_tar(folder, text):
    with tarfile.open(folder / "days.tar.bz2", "w:bz2") as archive:
        for number, part in enumerate(parts_of(text, 3)):
            member = tarfile.TarInfo(f"day_{number}.txt")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))


FORMS = {
    "gz": lambda folder, text: (folder / "train.txt.gz").write_bytes(gzip.compress(text)),
    "bz2": lambda folder, text: (folder / "log.tsv.bz2").write_bytes(bz2.compress(text)),
    "zst": lambda folder, text: (folder / "log.txt.zst").write_bytes(zstandard.compress(text)),
    "24 parts": write_parts,
    "zip": write_zip,
    "tar.bz2": write_tar,
    "csv": lambda folder, text: frame_of(text).write_csv(folder / "log.csv"),
    "csv, quoted, other order": lambda folder, text: (
        frame_of(text).select(reversed(COLUMNS)).write_csv(folder / "log.csv", quote_style="non_numeric")
    ),
    "parquet": lambda folder, text: frame_of(text).write_parquet(folder / "log.parquet", row_group_size=300),
    "parquet of strings": lambda folder, text: frame_of(text).cast(pl.String).write_parquet(folder / "log.parquet"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_bytes_of_the_text(rows, tmp_path, form):
    text, expected = rows
    (tmp_path / "data").mkdir()
    FORMS[form](tmp_path / "data", text)
    assert preprocess(tmp_path / "data", tmp_path / "out") == expected


@pytest.mark.slow
@pytest.mark.parametrize("form", ["24 parts", "csv", "parquet"])
def test_the_workers_of_a_cluster_give_them_too(rows, tmp_path, form):
    text, expected = rows
    (tmp_path / "data").mkdir()
    FORMS[form](tmp_path / "data", text)
    assert preprocess(tmp_path / "data", tmp_path / "out", "--workers=2") == expected
