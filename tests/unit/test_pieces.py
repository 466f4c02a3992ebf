# SPDX-License-Identifier: Apache-2.0
import gzip
import itertools
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.preprocessing.pieces import COUNTED_BYTES, Piece, count_piece_rows, cut, read_piece
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.source import Source

SCHEMA = FieldSchema.criteo(1, 1)
LINES = st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"x")), max_size=30)


def lines_of(content):
    """Return the lines of a text, each with an end."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in (lines if lines[-1] else lines[:-1])]


@given(
    texts=st.lists(st.tuples(LINES, st.booleans()), min_size=1, max_size=3),
    piece_bytes=st.integers(1, 40),
    chunk_bytes=st.integers(1, 20),
)
def test_every_line_is_in_exactly_one_piece_in_the_order_of_the_lines(
    tmp_path_factory, texts, piece_bytes, chunk_bytes
):
    folder = tmp_path_factory.mktemp("files")
    contents = [b"\n".join(lines) + (b"\n" if ends and lines else b"") for lines, ends in texts]
    paths = [folder / str(number) for number in range(len(texts))]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    pieces = cut(Source(tuple(paths)), piece_bytes)
    read = [b"".join(chunk.rows for chunk in read_piece(piece, SCHEMA, chunk_bytes)) for piece in pieces]
    assert lines_of(b"".join(read)) == [line for content in contents for line in lines_of(content)]
    for piece, data in zip(pieces, read):
        content = contents[paths.index(folder / piece.path)]
        starts = [
            0,
            *(index + 1 for index, byte in enumerate(content) if byte == ord("\n") and index + 1 < len(content)),
        ]
        begun = [start for start in starts if piece.start <= start < piece.end and content]
        assert len(lines_of(data)) == len(begun) == count_piece_rows(piece, SCHEMA)


def test_pieces_of_text_have_about_the_size_and_cover_the_file(tmp_path):
    (tmp_path / "rows").write_bytes(b"12345\n" * 100)
    pieces = cut(Source((tmp_path / "rows",)), 110)
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 120), (120, 240), (240, 360), (360, 480), (480, 600)]


def test_a_packed_file_is_one_piece(tmp_path):
    (tmp_path / "rows.gz").write_bytes(gzip.compress(b"a\nb\nc"))
    (piece,) = cut(Source((tmp_path / "rows.gz",)), 1)
    assert piece == Piece(str(tmp_path / "rows.gz"))
    assert b"".join(chunk.rows for chunk in read_piece(piece, SCHEMA, 2)) == b"a\nb\nc\n"
    assert count_piece_rows(piece, SCHEMA) == 3


def test_lines_are_counted_over_several_buffers(tmp_path):
    lines, size = [b"%06d\n" % number for number in range(400_000)], 7 * 400_000
    (tmp_path / "rows").write_bytes(b"".join(lines))
    starts = [0, 1, COUNTED_BYTES, 7 * 150_000, size - 1, size]
    pieces = [Piece(str(tmp_path / "rows"), *ends) for ends in itertools.pairwise(starts)]
    # A piece has the lines 7k with start <= 7k < end.
    expected = [math.ceil(end / 7) - math.ceil(start / 7) for start, end in itertools.pairwise(starts)]
    assert [count_piece_rows(piece, SCHEMA) for piece in pieces] == expected


@pytest.mark.parametrize("chunk_bytes", [3, 1000])
def test_the_fraction_of_a_chunk_is_that_of_its_piece(tmp_path, chunk_bytes):
    (tmp_path / "rows").write_bytes(b"12345\n" * 10)
    fractions = [chunk.fraction for chunk in read_piece(Piece(str(tmp_path / "rows"), 30, 60), SCHEMA, chunk_bytes)]
    assert fractions == ([1.0] if chunk_bytes == 1000 else pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]))


@pytest.mark.parametrize("piece_bytes", [1, 3, 7, 20, 1000])
def test_the_header_of_a_file_is_in_no_piece(tmp_path, piece_bytes):
    schema = FieldSchema(("I1",), ("C1",), text=TextFormat(",", has_header=True))
    (tmp_path / "a.csv").write_text("label,C1,I1\n" + "".join(f"1,{row},x\n" for row in range(20)))
    pieces = cut(Source.find(str(tmp_path)), piece_bytes)
    chunks = [list(read_piece(piece, schema, 10)) for piece in pieces]
    rows = b"".join(chunk.rows for found in chunks for chunk in found).decode().split("\n")
    assert rows == [*(f"1,{row},x" for row in range(20)), ""]
    assert sum(count_piece_rows(piece, schema) for piece in pieces) == 20
    for piece, found in zip(pieces, chunks):
        assert sum(chunk.rows.count(b"\n") for chunk in found) == count_piece_rows(piece, schema)
        assert all(chunk.schema.file_columns == ("label", "C1", "I1") for chunk in found)


def test_parquet_is_cut_by_rows_and_places_are_those_in_the_file(tmp_path):
    for name, start in (("a", 0), ("b", 10)):
        frame = pl.DataFrame({"label": [1] * 10, "I1": range(start, start + 10), "C1": ["x"] * 10})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    size = (tmp_path / "a.parquet").stat().st_size
    pieces = cut(Source.find(str(tmp_path)), size * 3 / 2)
    assert [(piece.name, piece.start, piece.end) for piece in pieces] == [
        ("a.parquet", 0, 5), ("a.parquet", 5, 10), ("b.parquet", 0, 5), ("b.parquet", 5, 10),
    ]  # fmt: skip
    assert [count_piece_rows(piece, SCHEMA) for piece in pieces] == [5] * 4
    found = [chunk for piece in pieces for chunk in read_piece(piece, SCHEMA, 100, piece.start, piece.start + 1)]
    assert pl.concat([chunk.rows for chunk in found])["I1"].to_list() == list(range(20))
    assert [chunk.place for chunk in found] == [("a.parquet", 1), ("a.parquet", 6), ("b.parquet", 1), ("b.parquet", 6)]
