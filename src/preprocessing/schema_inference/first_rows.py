# SPDX-License-Identifier: Apache-2.0
"""The first rows of a Source as a table, before a schema is known."""

import dataclasses
import itertools
from collections import Counter

import polars as pl

from src.common.errors import UserError
from src.preprocessing.chunks import read_parquet, read_source, schema_of_parquet
from src.preprocessing.diagnosis import OTHER_FORMATS, is_utf8
from src.preprocessing.line_by_line import plain_format, without_quotes
from src.preprocessing.raw_cells import QUOTE, count_cells, read_csv
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.schema_inference.text_form import find_separator, header_of
from src.preprocessing.source import Source, is_parquet

CHUNK_BYTES = 1 << 20
# No column is read, and no header taken off: the separator is one of no text, and so the form is not Criteo's.
ANY_ROWS = FieldSchema((), (), text=TextFormat("\x1f"), is_label_optional=True)


@dataclasses.dataclass(frozen=True)
class FirstRows:
    """The first rows of a source.

    frame: the cells, null for empty ones; text has text only, Parquet its own types.  Columns without a name of their
    own are c1, c2.. in the order of the file.
    text: how the rows are written, without the texts of missing values; None for Parquet.
    malformed: number of lines among the first ones that were left out.
    """

    frame: pl.DataFrame
    text: TextFormat | None
    malformed: int = 0

    @property
    def names_columns(self) -> bool:
        """Whether the file names its columns."""
        return self.text is None or self.text.has_header


def read_first_rows(source: Source, row_count: int) -> FirstRows:
    """Return the first rows of a source; UserError if it is empty, damaged or no table."""
    is_typed = is_parquet(source.files[0])
    alike = dataclasses.replace(source, files=tuple(file for file in source.files if is_parquet(file) == is_typed))
    rows = _read_frames(alike, row_count) if is_typed else _parse_parts(alike, row_count)
    if not rows.frame.height:
        raise UserError(f"{source} has no rows")
    return rows


def _read_frames(source, row_count):
    """Return the first rows of files of Parquet, of those columns that all of the files read have."""
    frames, left = [], row_count
    for file in source.files:
        schema = schema_of_parquet(ANY_ROWS, file)
        every_column = dataclasses.replace(schema, category_names=schema.file_columns, has_label=False)
        frames.append(pl.concat(read_parquet(file, every_column, 0, left)))
        left -= frames[-1].height
        if not left:
            break
    names = [name for name in frames[0].columns if all(name in frame.columns for frame in frames)]
    try:
        return FirstRows(pl.concat([frame.select(names) for frame in frames], how="vertical_relaxed"), None)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{source}: a column has another type in another file: {error}") from None


def _read_parts(source, row_count):
    """Return the first lines of a source without their ends, and of each file one more: a list of lines for each."""
    parts: dict[int, list[bytes]] = {}
    left = row_count
    for chunk in read_source(source, ANY_ROWS, CHUNK_BYTES):
        lines = parts.setdefault(chunk.start.part, [])
        added = chunk.rows.split(b"\n")[:-1][: left + (not lines)]
        left -= len(added) - (not lines)
        lines.extend(added)
        if left <= 0:
            break
    return list(parts.values())


def _parse_parts(source, row_count):
    """Return the FirstRows of files of text."""
    parts = _read_parts(source, row_count)
    first = [line for part in parts[:1] for line in part]
    _check_text(source, first)
    separator = find_separator(first)
    if separator is None:
        raise UserError(f"{source}: the lines have no separator in common: tab, comma, ; | or blank")
    text = TextFormat(separator)
    header = header_of(first, text, str(source))
    if header:
        text = dataclasses.replace(text, has_header=True)
        parts = [part[1:] for part in parts if part[0].rstrip(b"\r") == first[0].rstrip(b"\r")]
    width = len(header or ()) or Counter(count_cells(line, text) for line in first).most_common(1)[0][0]
    lines = list(itertools.islice(itertools.chain(*parts), row_count))
    return _parse_lines(lines, text, header or [f"c{each + 1}" for each in range(width)])


def _check_text(source, lines):
    """Raise UserError if lines are none of text."""
    if not any(lines):
        raise UserError(f"{source} is empty")
    if hint := next((hint for magic, hint in OTHER_FORMATS.items() if lines[0].startswith(magic)), None):
        raise UserError(f"{source} {hint}")
    if not any(map(is_utf8, lines)):
        raise UserError(f"{source} is not UTF-8: convert it with iconv")


def _parse_lines(lines, text, names):
    plain, line_count = text, len(lines)
    if text.has_quotes and any(QUOTE in line for line in lines):
        schema = FieldSchema((), (), text=text)
        plain = plain_format(b"".join(lines))
        lines = [without_quotes(line, schema, plain) for line in lines if count_cells(line, text)]
    good = [line for line in lines if count_cells(line, plain) == len(names) and is_utf8(line)]
    types = dict.fromkeys(names, pl.String)
    data = b"".join(line + b"\n" for line in good)
    frame = read_csv(data, types, plain, names) if good else pl.DataFrame(schema=types)
    return FirstRows(frame, text, line_count - len(good))
