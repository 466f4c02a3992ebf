# SPDX-License-Identifier: Apache-2.0
"""Raw rows: label, integers, categories, tab separated; read in blocks of whole lines, malformed lines set aside.

A line ends with a newline; carriage returns at the end of a cell, and so of a line, are not part of it.
"""

import codecs
import contextlib
import gzip
import pathlib
import tarfile
import zlib
from typing import NamedTuple

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.preprocessing.bad_lines import COLUMNS, ENCODING, ID, INTEGER, LABEL_VALUE, is_utf8
from src.preprocessing.raw_cells import LONGEST_LABEL, read_integers, read_label
from src.preprocessing.raw_columns import MISSING, to_codes, to_integers
from src.preprocessing.schema import LABEL, LARGEST_ID, LINE_NUMBER

TEXT_NAME, GZIP_NAME, ARCHIVE_NAME = "train.txt", "train.txt.gz", "dac.tar.gz"
TAB, NEWLINE, DIGIT_0, DIGIT_1 = b"\t\n01"
FIRST_NON_ASCII = 0x80
PIECE = 1 << 18
ARCHIVE_BUFFER = 1 << 16
NO_LABEL = -1


class Block(NamedTuple):
    """Lines of a raw file.  data: bytes that end at a line's end.  fraction: how much of the file has been read."""

    data: bytes
    fraction: float


def find_source(data_path):
    """Return the raw file in `data_path`/origin_data or in `data_path` itself."""
    folders = (pathlib.Path(data_path, "origin_data"), pathlib.Path(data_path))
    for folder in folders:
        for name in (TEXT_NAME, GZIP_NAME, ARCHIVE_NAME):
            if (folder / name).is_file():
                return folder / name
    raise UserError(
        f"no {TEXT_NAME}, {GZIP_NAME} or {ARCHIVE_NAME} in {folders[0]} or {folders[1]}; --data_path names the folder"
    )


def read_blocks(path, block_bytes, skip_bytes=0):
    """Yield the text of `path` (plain, .gz, or train.txt within a .tar.gz) as Blocks.

    skip_bytes: how many bytes of the text to leave out at its beginning.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            size = path.stat().st_size
            stream = _open(path, file, stack)
            _skip(stream, skip_bytes, block_bytes)
            while data := stream.read(block_bytes):
                if not data.endswith(b"\n"):
                    data += stream.readline()
                yield Block(data if data.endswith(b"\n") else data + b"\n", min(file.tell() / size, 1.0))
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise UserError(f"{path} is damaged or cut off: {error}") from error


def _skip(stream, byte_count, block_bytes):
    while byte_count > 0 and (data := stream.read(min(byte_count, block_bytes))):
        byte_count -= len(data)


def _open(path, file, stack):
    """Return the text in a file, which is open, as a stream of bytes."""
    if not path.name.endswith(".tar.gz"):
        return stack.enter_context(gzip.open(file)) if path.suffix == ".gz" else file
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r|gz", bufsize=ARCHIVE_BUFFER))
    for member in archive:
        if member.isfile() and pathlib.PurePosixPath(member.name).name == TEXT_NAME:
            return archive.extractfile(member)
    raise UserError(f"{path}: holds no {TEXT_NAME}")


def count_lines(data):
    """Return the number of lines in a block, bytes."""
    return _count(np.frombuffer(data, np.uint8), lambda octets: octets == NEWLINE)


def parse_block(data, first_line, schema, bad_lines):
    """Return the well-formed lines of a block as a frame, and the number of lines in it.

    data: bytes, each line ended by a newline.  first_line: the number, from 0, of its first line in the file.
    Columns: LINE_NUMBER (uint64, from 0), LABEL (int8), the integers and the categories, as
    src.preprocessing.raw_columns has them; categories that are ids are Int32.  `bad_lines` gets the other lines.
    """
    octets = np.frombuffer(data, np.uint8)
    frame = _read_clean_block(data, octets, schema)
    if frame is not None:
        line_numbers = np.arange(first_line, first_line + frame.height, dtype=np.uint64)
        return frame.with_columns(pl.Series(LINE_NUMBER, line_numbers)), frame.height
    return _parse_line_by_line(data, octets, first_line, schema, bad_lines)


def _read_clean_block(data, octets, schema):
    """Return the columns of a block without a malformed line; None if it may have one."""
    line_count = _count(octets, lambda octets: octets == NEWLINE)
    tab_count = _count(octets, lambda octets: octets == TAB)
    if schema.categories_are_ids or tab_count != line_count * (schema.column_count - 1):
        return None
    if _reads_otherwise_apart(data):
        return None
    columns = {**dict.fromkeys(schema.column_names, pl.String), **dict.fromkeys(schema.integer_names, pl.Int32)}
    try:
        frame = _read_csv(data, columns)
    except pl.exceptions.PolarsError:
        return None
    labels = frame[LABEL]
    if frame.height != line_count or not labels.is_in([str(schema.negative_label), "1"]).fill_null(False).all():
        return None
    missing = MISSING[pl.Int32]
    if missing in frame.select(schema.integer_names).min().row(0):
        return None
    numbers = frame.select((pl.col(LABEL) == "1").cast(pl.Int8), pl.col(schema.integer_names).fill_null(missing))
    return numbers.hstack([to_codes(frame[name]) for name in schema.category_names])


def _count(octets, is_counted):
    """Return for how many octets `is_counted`, a function of an array, holds.

    Piece by piece, as what it gives should stay in the processor's cache.
    """
    pieces = (octets[start : start + PIECE] for start in range(0, len(octets), PIECE))
    return sum(np.count_nonzero(is_counted(piece)) for piece in pieces)


def _reads_otherwise_apart(data):
    """Tell whether polars, given the block as it is, may take an integer or a label that is malformed for a good one.

    It skips blanks before an integer, a carriage return after a label and a byte order mark.
    """
    return _has_pair(data, b"\t ") or _has_pair(data, b"\r\t") or data.startswith(codecs.BOM_UTF8)


def _has_pair(data, pair):
    """Return `pair in data`, where one of its two bytes is rare: a byte is found many times faster than two."""
    return all(byte in data for byte in pair) and pair in data


def _read_csv(data, columns):
    frame = pl.read_csv(data, separator="\t", has_header=False, schema=columns, quote_char=None)
    if not _has_pair(data, b"\r\r"):
        return frame
    # polars takes off one carriage return; what was nothing else is an empty cell.
    stripped = frame.with_columns(pl.col(pl.String).str.strip_chars_end("\r"))
    return stripped.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)))


def _parse_line_by_line(data, octets, first_line, schema, bad_lines):
    """Do the work of parse_block for any block, judging each line apart."""
    ends = np.flatnonzero(octets == NEWLINE) + 1
    starts = np.concatenate([[0], ends[:-1]])
    labels = _read_labels(data, octets, starts, schema.negative_label)
    reasons = _line_reasons(data, octets, starts, ends, schema)
    reasons[(labels == NO_LABEL) & (reasons != COLUMNS)] = LABEL_VALUE
    good = reasons == 0
    frame = _read_columns(octets, ends - starts, good, schema)
    line_numbers = pl.Series(LINE_NUMBER, first_line + np.flatnonzero(good), dtype=pl.UInt64)
    frame = frame.with_columns(line_numbers, pl.Series(LABEL, labels[good]))
    frame, value_reasons = _convert_columns(frame, schema)
    reasons[good] = value_reasons
    bad = np.flatnonzero(reasons)

    def line_at(index):
        return data[starts[bad[index]] : ends[bad[index]] - 1]

    bad_lines.add(first_line + bad + 1, reasons[bad], line_at, schema)
    return _hold(frame.filter(value_reasons == 0), schema), len(ends)


def _read_labels(data, octets, starts, negative_label):
    """Return the labels of the lines that begin at `starts`, int8 [lines]: 0, 1, or NO_LABEL where there is none."""
    first, second = octets[starts], octets[np.minimum(starts + 1, len(octets) - 1)]
    labels = np.where(first == DIGIT_1, 1, 0).astype(np.int8)
    is_plain = (second == TAB) & ((first == DIGIT_1) | ((first == DIGIT_0) & (negative_label == 0)))
    others = np.flatnonzero(~is_plain)
    cells = [data[start : start + LONGEST_LABEL + 1].split(b"\t", 1)[0] for start in starts[others].tolist()]
    known = {cell: read_label(cell, negative_label) for cell in set(cells)}
    labels[others] = [NO_LABEL if known[cell] is None else known[cell] for cell in cells]
    return labels


def _line_reasons(data, octets, starts, ends, schema):
    """Return the code of what is wrong with each line as bytes, uint8 [lines]."""
    reasons = np.zeros(len(starts), np.uint8)
    if not is_utf8(data):
        suspects = np.flatnonzero(np.logical_or.reduceat(octets >= FIRST_NON_ASCII, starts))
        for line in suspects:
            if not is_utf8(data[starts[line] : ends[line]]):
                reasons[line] = ENCODING
    tabs = np.add.reduceat(octets == TAB, starts, dtype=np.int32)
    reasons[tabs != schema.column_count - 1] = COLUMNS
    return reasons


def _read_columns(octets, lengths, good, schema):
    if not good.all():
        octets = octets[np.repeat(good, lengths)]
    text_columns = dict.fromkeys(schema.column_names, pl.String)
    if not octets.size:
        return pl.DataFrame(schema=text_columns)
    return _read_csv(octets.tobytes(), text_columns)


def _convert_columns(frame, schema):
    """Turn text to numbers; return the frame and the code of what is wrong with each row, uint8 [rows]."""
    integers, ids = schema.integer_names, schema.category_names if schema.categories_are_ids else []
    numbers = {name: read_integers(frame[name]) for name in [*integers, *ids]}
    integer_wrong = _any_of(numbers[name].is_null() & frame[name].is_not_null() for name in integers)
    id_wrong = _any_of(~numbers[name].is_between(0, LARGEST_ID).fill_null(False) for name in ids)
    reasons = np.zeros(frame.height, np.uint8)
    reasons[id_wrong] = ID
    reasons[integer_wrong] = INTEGER
    return frame.with_columns(**numbers), reasons


def _hold(frame, schema):
    """Return a frame of good rows, numbers as Int64, with its columns as src.preprocessing.raw_columns has them."""
    hold_category = _hold_id if schema.categories_are_ids else to_codes
    return frame.with_columns(
        *(to_integers(frame[name]) for name in schema.integer_names),
        *(hold_category(frame[name]) for name in schema.category_names),
    )


def _hold_id(column):
    return column.cast(pl.Int32)


def _any_of(masks):
    """Return the rows in which any mask, a boolean Series, is true; an index for numpy."""
    wrong = np.array([], np.int64)
    for mask in masks:
        if mask.any():
            wrong = np.union1d(wrong, mask.arg_true().to_numpy())
    return wrong
