# SPDX-License-Identifier: Apache-2.0
"""The diagnosis of one malformed line, in words: the fault, and the hints that the line gives about its file."""

import dataclasses

import polars as pl

from src.preprocessing.raw_cells import read_floats, read_integers, split_cells
from src.preprocessing.schema import CRITEO, LABEL, TIME, WEIGHT, FieldSchema

# Why a line is malformed; the index in this tuple is the reason's code, 0 for a well-formed line.
REASONS = ("", "columns", "label", "encoding", "integer", "float", "id", "weight", "time")
COLUMNS, LABEL_VALUE, ENCODING, INTEGER, FLOAT, ID, WEIGHT_VALUE, TIME_VALUE = range(1, len(REASONS))

LISTED_COLUMNS = 10
LONGEST_SHOWN = 60  # characters of a cell or a line in a message
LONGEST_READ = 1 << 16  # bytes of a line from which the separator is guessed
TAB = b"\t"
SEPARATORS = {
    b"\t": "tab-separated",
    b",": "comma-separated",
    b";": "separated by ;",
    b"|": "separated by |",
    b"\x01": r"separated by \x01",  # Hive's default
    b" ": "separated by blanks",
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_FORMATS = {
    b"\xff\xfe": "is UTF-16: write it as UTF-8",
    b"\xfe\xff": "is UTF-16: write it as UTF-8",
    b"\x1f\x8b": "is compressed by gzip: name it train.txt.gz",
    b"BZh": "is compressed by bzip2: unpack it",
    b"\xfd7zXZ": "is compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: unpack it",
    b"PK\x03\x04": "is a .zip archive: unpack it",
    b"PAR1": "is a Parquet file: write it as text",
    b"{": "is JSON: write it as tab-separated text",
}
HEADER = "line 1 looks like a header: remove it"
MISSING_WORDS = {"null", "none", "nan", "na", "n/a", "<na>", "nil", "\\n", "-", "?"}


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of a malformed line.

    fault: a clause with the number of the line, the cell and the rule.  hints: clauses about the file.
    column_hints: clauses about the file that hold only if most of its lines have the wrong number of columns.
    """

    fault: str
    hints: list[str]
    column_hints: list[str] = dataclasses.field(default_factory=list)


def diagnose(number: int, line: bytes, reason: int, schema: FieldSchema, file: str = "") -> Diagnosis:
    """Return the Diagnosis of line `number`, from 1, that is malformed for the reason with this code.

    file: the name of its file if there are several.
    """
    place = f"line {number} of {file}" if file else f"line {number}"
    if reason == COLUMNS:
        return _diagnose_columns(place, number, line, schema)
    cells = split_cells(line, schema.text) or []
    hints = _first_line_hints(number, line, cells)
    if reason == LABEL_VALUE:
        cell = cells[schema.column_names.index(LABEL)]
        fault = f"{place}: the label is {_quoted(cell)}; a label is {_label_rule(schema)}"
        return Diagnosis(fault, hints + _quote_hints(cell))
    name, cell = next(
        (name, cell) for name, cell in zip(schema.column_names, cells) if _is_malformed(name, cell, reason, schema)
    )
    if reason in (INTEGER, FLOAT) and printable(cell).strip().lower() in MISSING_WORDS:
        hints.append(f"missing values are written as {printable(cell)}: leave their cells empty")
    return Diagnosis(
        f"{place}: {_shown_name(name, schema)} is {_quoted(cell)}; {_rule(reason, schema)}", hints + _quote_hints(cell)
    )


def _shown_name(name, schema):
    """Return the name that the file has for a column of frames."""
    return {role: own for own, role in schema.roles.items()}.get(name, name)


def _label_rule(schema):
    if schema.clicks:
        return f"{' or '.join(schema.clicks)} for a click, and no missing value"
    return "-1 or 1" if schema.negative_label else "0 or 1 (or 0.0, 1.0, false, true)"


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def printable(cell: bytes) -> str:
    """Return a cell as printable text of at most LONGEST_SHOWN characters, and "..." after a longer one."""
    text = cell[: 4 * LONGEST_SHOWN].decode("utf-8", "backslashreplace").rstrip("\r")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    is_long = len(shown) > LONGEST_SHOWN or len(cell) > 4 * LONGEST_SHOWN
    return shown[:LONGEST_SHOWN] + ("..." if is_long else "")


def _quoted(cell: bytes) -> str:
    return f'"{printable(cell)}"'


def _rule(reason, schema):
    rules = {
        ENCODING: "it is not UTF-8: convert the file with iconv",
        INTEGER: "an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing",
        FLOAT: "a float is a finite number, as 0.25 or 1e-3, or is empty if missing",
        WEIGHT_VALUE: "a weight is a finite number of at least 0, and cannot be missing",
        TIME_VALUE: "a time is an integer, or a date and time as 2014-10-21 13:05:22, and cannot be missing",
    }
    condition = "" if schema.is_label_optional else "with --skip_id_convert=1 "
    ids = f"{condition}a category is an id from 0 to {schema.largest_id} and cannot be missing"
    return rules.get(reason, ids)


def _is_malformed(name, cell, reason, schema):
    """Tell whether a cell, bytes, of the column `name` is malformed for this reason."""
    if reason == ENCODING:
        return not is_utf8(cell)
    text = cell.decode().rstrip("\r")
    texts = pl.Series([None if text in ("", *schema.text.missing) else text], dtype=pl.String)
    if reason == INTEGER:
        return name in schema.integer_names and _is_no(read_integers, texts)
    if reason == FLOAT:
        return name in schema.float_names and _is_no(read_floats, texts)
    if reason == ID:
        return name in schema.category_names and not _is_id(read_integers(texts), schema)
    return name == {WEIGHT_VALUE: WEIGHT, TIME_VALUE: TIME}[reason]


def _is_id(numbers, schema):
    return numbers.is_between(0, schema.largest_id).fill_null(False).all()


def _is_no(read, texts):
    """Tell whether a text, a Series of one, is there, but writes no value."""
    return not texts.has_nulls() and read(texts).has_nulls()


def _quote_hints(cell):
    is_quoted = len(cell) > 1 and cell[:1] in (b'"', b"'") and cell[:1] == cell[-1:]
    return ["cells are in quotes: write them without"] if is_quoted else []


def _diagnose_columns(place, number, line, schema):
    """Do the work of diagnose for a line of too few or too many cells."""
    own = schema.text.separator.encode()
    start = line[:LONGEST_READ]
    own_cells = split_cells(start, schema.text)
    if own_cells is None:
        return Diagnosis(f"{place}: its quotes are malformed, {_quoted(line)}", [])
    expected, found = schema.column_count, len(own_cells) + line[LONGEST_READ:].count(own)
    separator = _find_separator(start, own, expected) if found == 1 else None
    cells = start.split(separator or own)
    hints = []
    if _other_format(number, line) is None:
        hints += [f"the file is {SEPARATORS[separator]} instead of {SEPARATORS.get(own, own)}"] if separator else []
        lacks_label = schema.has_label and not schema.is_label_optional and len(cells) == expected - 1
        hints += ["the file seems to have no label column"] if lacks_label else []
    if b"\r" in line.rstrip(b"\r") and found > expected:
        hints.append("lines end with carriage returns alone: end them with newlines")
    fault = f"has {found} column{'s' if found > 1 else ''}, {_quoted(line)}" if line.strip() else "is empty"
    return Diagnosis(
        f"{place} {fault}; a row has {_describe_columns(schema)}", _first_line_hints(number, line, cells), hints
    )


def _describe_columns(schema):
    if schema.file_columns or schema.text != CRITEO:
        names = [_shown_name(name, schema) for name in schema.column_names]
        listed = ", ".join([*names[:LISTED_COLUMNS], *(["..."] if len(names) > LISTED_COLUMNS else [])])
        separator = SEPARATORS.get(schema.text.separator.encode(), f"separated by {schema.text.separator}")
        return f"{schema.column_count} columns, {listed}, {separator}"
    integers, categories = len(schema.integer_names), len(schema.category_names)
    if schema.is_label_optional:
        columns = f"{integers} integers and {categories} categories, separated by tabs"
        return f"{columns}, with or without a label before them"
    label = "1 label, " if schema.has_label else ""
    columns = f"--dense_dim={integers} integers and --slot_dim={categories} categories"
    return f"{schema.column_count}: {label}{columns}, separated by tabs"


def _find_separator(line, own, column_count):
    """Return the separator of the columns of a line without its own one, bytes; None if nothing seems to be one."""
    others = [separator for separator in SEPARATORS if separator != own]
    counts = {separator: min(line.strip().count(separator), column_count - 1) for separator in others}
    best = max(counts, key=counts.get)
    return best if counts[best] >= max(column_count // 2, 1) else None


def _first_line_hints(number, line, cells):
    """Return the hints that line 1 gives by its first bytes, or as a header; none for another line."""
    if number > 1:
        return []
    if line.startswith(BYTE_ORDER_MARK):
        line, cells = line.removeprefix(BYTE_ORDER_MARK), [cells[0].removeprefix(BYTE_ORDER_MARK), *cells[1:]]
        hints = ["the file begins with a byte order mark: remove its first three bytes"]
        return hints + _first_line_hints(number, line, cells)
    other_format = _other_format(number, line)
    return [other_format] if other_format else [HEADER] if _is_header(cells) else []


def _other_format(number, line):
    """Return a clause on the format of a file that is no text of rows, by the first bytes of line 1; else None."""
    magic = next((magic for magic in OTHER_FORMATS if number == 1 and line.startswith(magic)), None)
    return magic and f"the file {OTHER_FORMATS[magic]}"


def _is_header(cells):
    """Tell whether the cells of line 1, bytes, are names of columns: all different, none a number or missing."""
    names = [printable(cell).strip('" ') for cell in cells]
    are_names = all("\\" not in name and not _is_number(name) for name in names)
    # pandas leaves the name of its index, the first column, empty.
    return len(names) > 1 and len(set(names)) == len(names) and all(names[1:]) and are_names


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
