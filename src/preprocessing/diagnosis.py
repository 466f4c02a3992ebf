# SPDX-License-Identifier: Apache-2.0
"""The diagnosis of one malformed line, in words: the fault, and the hints that the line gives about its file."""

import dataclasses

from src.preprocessing.raw_cells import read_integer
from src.preprocessing.schema import FieldSchema

# Why a line is malformed; the index in this tuple is the reason's code, 0 for a well-formed line.
REASONS = ("", "columns", "label", "encoding", "integer", "id")
COLUMNS, LABEL_VALUE, ENCODING, INTEGER, ID = range(1, len(REASONS))

LONGEST_SHOWN = 60  # characters of a cell or a line in a message
LONGEST_READ = 1 << 16  # bytes of a line from which the separator is guessed
TAB = b"\t"
SEPARATORS = {
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


def diagnose(number: int, line: bytes, reason: int, schema: FieldSchema) -> Diagnosis:
    """Return the Diagnosis of line `number`, from 1, that is malformed for the reason with this code."""
    if reason == COLUMNS:
        return _diagnose_columns(number, line, schema)
    cells = line.split(TAB)
    hints = _first_line_hints(number, line, cells)
    if reason == LABEL_VALUE:
        rule = "-1 or 1" if schema.negative_label else "0 or 1 (or 0.0, 1.0, false, true)"
        fault = f"line {number}: the label is {_quoted(cells[0])}; a label is {rule}"
        return Diagnosis(fault, hints + _quote_hints(cells[0]))
    name, cell = next(
        (name, cell) for name, cell in zip(schema.column_names, cells) if _is_malformed(name, cell, reason, schema)
    )
    if reason == INTEGER and printable(cell).strip().lower() in MISSING_WORDS:
        hints.append(f"missing values are written as {printable(cell)}: leave their cells empty")
    return Diagnosis(f"line {number}: {name} is {_quoted(cell)}; {_rule(reason, schema)}", hints + _quote_hints(cell))


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
    if reason == ENCODING:
        return "it is not UTF-8: convert the file with iconv"
    if reason == INTEGER:
        return "an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing"
    condition = "" if schema.is_label_optional else "with --skip_id_convert=1 "
    return f"{condition}a category is an id from 0 to {schema.largest_id} and cannot be missing"


def _is_malformed(name, cell, reason, schema):
    """Tell whether a cell, bytes, of the column `name` is malformed for this reason."""
    if reason == ENCODING:
        return not is_utf8(cell)
    text = cell.decode().rstrip("\r")
    if reason == INTEGER:
        return name in schema.integer_names and text != "" and read_integer(text) is None
    number = read_integer(text)
    return name in schema.category_names and not (number is not None and 0 <= number <= schema.largest_id)


def _quote_hints(cell):
    is_quoted = len(cell) > 1 and cell[:1] in (b'"', b"'") and cell[:1] == cell[-1:]
    return ["cells are in quotes: write them without"] if is_quoted else []


def _diagnose_columns(number, line, schema):
    """Do the work of diagnose for a line of too few or too many cells."""
    expected, found = schema.column_count, line.count(TAB) + 1
    start = line[:LONGEST_READ]
    separator = _find_separator(start, expected) if found == 1 else None
    cells = start.split(separator or TAB)
    hints = []
    if _other_format(number, line) is None:
        hints += [f"the file is {SEPARATORS[separator]} instead of tab-separated"] if separator else []
        lacks_label = schema.has_label and not schema.is_label_optional and len(cells) == expected - 1
        hints += ["the file seems to have no label column"] if lacks_label else []
    if b"\r" in line.rstrip(b"\r") and found > expected:
        hints.append("lines end with carriage returns alone: end them with newlines")
    fault = f"has {found} column{'s' if found > 1 else ''}, {_quoted(line)}" if line.strip() else "is empty"
    return Diagnosis(
        f"line {number} {fault}; a row has {_describe_columns(schema)}", _first_line_hints(number, line, cells), hints
    )


def _describe_columns(schema):
    if schema.is_label_optional:
        columns = f"{schema.dense_dim} integers and {schema.slot_dim} categories, separated by tabs"
        return f"{columns}, with or without a label before them"
    label = "1 label, " if schema.has_label else ""
    columns = f"--dense_dim={schema.dense_dim} integers and --slot_dim={schema.slot_dim} categories"
    return f"{schema.column_count}: {label}{columns}, separated by tabs"


def _find_separator(line, column_count):
    """Return the separator of the columns of a line without tabs, bytes; None if nothing seems to separate them."""
    counts = {separator: min(line.strip().count(separator), column_count - 1) for separator in SEPARATORS}
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
