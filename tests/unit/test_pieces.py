# SPDX-License-Identifier: Apache-2.0
import gzip
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.preprocessing.cluster.pieces import COUNTED_BYTES, Piece, count_piece_lines, cut, read_piece

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
    pieces = cut(paths, piece_bytes)
    read = [b"".join(chunk.data for chunk in read_piece(piece, chunk_bytes)) for piece in pieces]
    assert lines_of(b"".join(read)) == [line for content in contents for line in lines_of(content)]
    for piece, data in zip(pieces, read):
        content = contents[paths.index(folder / piece.path)]
        starts = [
            0,
            *(index + 1 for index, byte in enumerate(content) if byte == ord("\n") and index + 1 < len(content)),
        ]
        begun = [start for start in starts if piece.start <= start < piece.end and content]
        assert len(lines_of(data)) == len(begun) == count_piece_lines(piece)


def test_pieces_of_text_have_about_the_size_and_cover_the_file(tmp_path):
    (tmp_path / "rows").write_bytes(b"12345\n" * 100)
    pieces = cut([tmp_path / "rows"], 110)
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 120), (120, 240), (240, 360), (360, 480), (480, 600)]


def test_a_packed_file_is_one_piece(tmp_path):
    (tmp_path / "rows.gz").write_bytes(gzip.compress(b"a\nb\nc"))
    (piece,) = cut([tmp_path / "rows.gz"], 1)
    assert piece == Piece(str(tmp_path / "rows.gz"))
    assert b"".join(chunk.data for chunk in read_piece(piece, 2)) == b"a\nb\nc\n"
    assert count_piece_lines(piece) == 3


def test_lines_are_counted_over_several_buffers(tmp_path):
    lines, size = [b"%06d\n" % number for number in range(400_000)], 7 * 400_000
    (tmp_path / "rows").write_bytes(b"".join(lines))
    starts = [0, 1, COUNTED_BYTES, 7 * 150_000, size - 1, size]
    pieces = [Piece(str(tmp_path / "rows"), *ends) for ends in itertools.pairwise(starts)]
    # A piece has the lines 7k with start <= 7k < end.
    expected = [math.ceil(end / 7) - math.ceil(start / 7) for start, end in itertools.pairwise(starts)]
    assert [count_piece_lines(piece) for piece in pieces] == expected


@pytest.mark.parametrize("chunk_bytes", [3, 1000])
def test_the_fraction_of_a_chunk_is_that_of_its_piece(tmp_path, chunk_bytes):
    (tmp_path / "rows").write_bytes(b"12345\n" * 10)
    fractions = [chunk.fraction for chunk in read_piece(Piece(str(tmp_path / "rows"), 30, 60), chunk_bytes)]
    assert fractions == ([1.0] if chunk_bytes == 1000 else pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0]))
