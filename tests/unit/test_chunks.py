# SPDX-License-Identifier: Apache-2.0
import gzip
import random

import polars as pl
import pytest

from src.common.errors import UserError
from src.preprocessing import chunks
from src.preprocessing.chunks import START, read_source
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.source import Source
from tests.raw_data import archive_of

SCHEMA = FieldSchema.criteo(1, 1)
COMMAS = FieldSchema(("I1",), ("C1",), text=TextFormat(",", has_header=True))


def lines_of(found):
    """Return the lines of chunks of text."""
    return b"".join(chunk.rows for chunk in found).split(b"\n")[:-1]


@pytest.mark.parametrize("chunk_bytes", [1, 13, 1 << 20])
def test_several_files_give_all_lines_in_order_and_each_place_resumes(tmp_path, chunk_bytes):
    contents = [b"0\t1\ta\n1\t2\tb\n0\t3\tc", b"", b"1\t4\td\n", b"0\t5\te\n1\t6\tf"]
    for number, content in enumerate(contents):
        packed = gzip.compress(content) if number % 2 else content
        (tmp_path / f"day_{number}{'.gz' if number % 2 else '.txt'}").write_bytes(packed)
    source = Source.find(str(tmp_path))
    all_lines = [line for content in contents for line in content.split(b"\n") if line]
    found = list(read_source(source, SCHEMA, chunk_bytes))
    assert lines_of(found) == all_lines
    seen = 0
    for chunk in found:
        assert chunk.start.rows + chunk.start.lines == seen
        seen += chunk.rows.count(b"\n")
        assert chunk.end.rows + chunk.end.lines == seen
        assert lines_of(read_source(source, SCHEMA, chunk_bytes, chunk.end)) == all_lines[seen:]
    assert [chunk.fraction for chunk in found] == sorted(chunk.fraction for chunk in found)
    assert found[-1].fraction == 1


def test_a_place_names_the_file_if_there_are_several_and_counts_the_header(tmp_path):
    (tmp_path / "a.csv").write_text("label,I1,C1\n1,2,x\n0,3,y\n")
    (tmp_path / "b.csv").write_text("C1,label,I1\nz,1,4\n")
    found = list(read_source(Source.find(str(tmp_path)), COMMAS, 6))
    assert [chunk.place for chunk in found] == [("a.csv", 2), ("a.csv", 3), ("b.csv", 2)]
    assert [chunk.schema.column_names for chunk in found[1:]] == [("<label>", "I1", "C1"), ("C1", "<label>", "I1")]
    (alone,) = read_source(Source.find(str(tmp_path / "b.csv")), COMMAS, 100)
    assert alone.place == ("", 2)


def test_the_members_of_an_archive_are_parts(tmp_path):
    (tmp_path / "rows.tar.gz").write_bytes(archive_of(b"0\t1\ta\n", name="x/1.txt"))
    (chunk,) = read_source(Source.find(str(tmp_path)), SCHEMA, 100)
    assert chunk.place == ("x/1.txt in rows.tar.gz", 1)
    (tmp_path / "rows.tar.gz").write_bytes(archive_of(b"0\t1\ta\n", name="x/train.txt"))
    (chunk,) = read_source(Source.find(str(tmp_path)), SCHEMA, 100)
    assert chunk.place == ("", 1)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"label,I1,C2\n", "there is no column C1; the columns are label, I1, C2"),
        (b"label,I1,I1,C1\n", "the header has the column 'I1' twice"),
        (b"I1,C1\n", "there is no column label; the columns are I1, C1"),
        (b"1,2,a\n", "there is no column label; the columns are 1, 2, a"),
        (b"\xff,2,a\n", "the header is not UTF-8"),
        (b'label,I1,"C1\n', "the quotes of the header are malformed"),
        (b'"label"x,I1,C1\n', "the quotes of the header are malformed"),
        (b"", "there is no column label"),
    ],
)
def test_a_file_without_the_columns_is_refused_by_name(tmp_path, header, message):
    (tmp_path / "a.csv").write_bytes(header + b"1,2,a\n")
    (tmp_path / "b.csv").write_bytes(b"label,I1,C1\n")
    with pytest.raises(UserError, match=rf"a\.csv: {message}"):
        list(read_source(Source.find(str(tmp_path)), COMMAS, 100))


def test_a_header_may_have_a_byte_order_mark_quotes_and_carriage_returns(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbf"label",C1,"I1"\r\n1,x,2\r\n')
    (chunk,) = read_source(Source.find(str(tmp_path)), COMMAS, 100)
    assert chunk.schema.file_columns == ("label", "C1", "I1")


def test_parquet_comes_in_frames_from_any_row_on(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "PARQUET_ROWS", 3)
    frame = pl.DataFrame({"x": range(8), "label": [0, 1] * 4, "I1": range(8), "C1": list("abcdefgh")})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.head(0).write_parquet(tmp_path / "b.parquet")
    frame[:2].write_parquet(tmp_path / "c.parquet")
    source = Source.find(str(tmp_path))
    found = list(read_source(source, SCHEMA, 100))
    assert [chunk.rows["I1"].to_list() for chunk in found] == [[0, 1, 2], [3, 4, 5], [6, 7], [0, 1]]
    assert [chunk.rows.columns for chunk in found] == [["label", "I1", "C1"]] * 4
    assert [chunk.start.rows + chunk.start.lines for chunk in found] == [0, 3, 6, 8]
    resumed = list(read_source(source, SCHEMA, 100, found[1].end))
    assert [chunk.rows["C1"].to_list() for chunk in resumed] == [["g", "h"], ["a", "b"]]


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"rows" * 100)
    with pytest.raises(UserError, match=r"a\.parquet is damaged or no Parquet file"):
        list(read_source(Source.find(str(tmp_path)), SCHEMA, 100))


@pytest.mark.parametrize(
    ("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)]
)
def test_a_chunk_knows_the_fraction_of_the_file_that_has_been_read(tmp_path, name, pack):
    dice = random.Random(1)
    content = b"".join(b"1\t%d\t%x\n" % (line, dice.getrandbits(400)) for line in range(20_000))
    (tmp_path / name).write_bytes(pack(content))
    size = read = 0
    for chunk in read_source(Source.find(str(tmp_path)), SCHEMA, 1 << 17, START):
        size += len(chunk.rows)
        assert read <= chunk.fraction <= 1
        read = chunk.fraction
        assert read == pytest.approx(size / len(content), abs=0 if name == "train.txt" else 0.15)
    assert read == pytest.approx(1, abs=0.01)
