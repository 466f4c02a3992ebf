# SPDX-License-Identifier: Apache-2.0
"""Malformed lines: how many for which reason, what is wrong with the first of them, and what that says of the file."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np

from src.preprocessing.raw_cells import read_integer, read_label
from src.preprocessing.schema import LARGEST_ID, FieldSchema

LISTED_BAD_LINES = 20
EXPLAINED_LINES = 2  # line 1 may be a header, and the next malformed line wrong in another way
LISTED_LABELS = 4
READ_LABELS = 1000  # malformed labels of a block that are searched for different ones
LONGEST_SHOWN = 60  # characters of a cell or a line in a message
LONGEST_READ = 1 << 16  # bytes of a line of which the separator is guessed
# Why a line is malformed; the index in this tuple is its code, 0 for a good line.
REASONS = ("", "columns", "label", "encoding", "integer", "id")
COLUMNS, LABEL_VALUE, ENCODING, INTEGER, ID = range(1, len(REASONS))

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


@dataclasses.dataclass
class BadLines:
    """Malformed lines so far.

    counts: how many for each reason.  first: the first of them, as [number from 1, reason].
    explained: of the first EXPLAINED_LINES what is wrong, what that says of the file and of its columns, in words.
    labels: different cells, as text, of lines that are malformed for their label, one more than LISTED_LABELS at most.
    """

    counts: Counter = dataclasses.field(default_factory=Counter)
    first: list = dataclasses.field(default_factory=list)
    explained: list = dataclasses.field(default_factory=list)
    labels: list = dataclasses.field(default_factory=list)

    def add(
        self, line_numbers: np.ndarray, reasons: np.ndarray, line_at: Callable[[int], bytes], schema: FieldSchema
    ) -> None:
        """Take in the malformed lines of a block.

        line_numbers: int [n], from 1.  reasons: codes, uint8 [n].  line_at: from an index below n to that line, bytes.
        """
        numbers, reasons = line_numbers.tolist(), reasons.tolist()
        wrong_labels = (index for index, reason in enumerate(reasons) if reason == LABEL_VALUE)
        labels = (_text(_label_of(line_at(index))) for index in itertools.islice(wrong_labels, READ_LABELS))
        self.merge(
            BadLines(
                Counter(REASONS[reason] for reason in reasons),
                [[number, REASONS[reason]] for number, reason in zip(numbers[:LISTED_BAD_LINES], reasons)],
                [
                    _explain(number, line_at(index), reasons[index], schema)
                    for index, number in enumerate(numbers[:EXPLAINED_LINES])
                ],
                list(dict.fromkeys(labels)),
            )
        )

    def merge(self, later: "BadLines") -> None:
        """Take in the malformed lines of a later part of the file."""
        self.counts.update(later.counts)
        self.first = (self.first + later.first)[:LISTED_BAD_LINES]
        self.explained = (self.explained + later.explained)[:EXPLAINED_LINES]
        self.labels = list(dict.fromkeys(self.labels + later.labels))[: LISTED_LABELS + 1]

    def to_dict(self) -> dict:
        """Return this as a dict for JSON."""
        return {**vars(self), "counts": dict(self.counts)}

    @classmethod
    def of_dict(cls, content: dict) -> "BadLines":
        """Return what to_dict made a dict of."""
        return cls(**{**content, "counts": Counter(content["counts"])})

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def describe(self, line_count: int, good_labels: list[int], negative_label: int, is_all: bool = True) -> str:
        """Return, in one line, what is wrong with the first line, what the file is like, and the counts by reason.

        line_count: lines so far, good or malformed; is_all: whether these are all of the file.  good_labels: those of
        good lines, as 0 and 1.
        """
        (number, reason), *others = self.first
        # After a header the next malformed line is the one that matters, unless it has the wrong columns, too.
        shown = EXPLAINED_LINES if number == 1 and others and others[0][1] != REASONS[COLUMNS] else 1
        clauses = [wrong for wrong, _, _ in self.explained[:shown]]
        clues = [clue for _, of_cells, _ in self.explained for clue in of_cells]
        if 2 * self.counts[REASONS[COLUMNS]] >= line_count:
            clues += [clue for _, _, of_columns in self.explained[:1] for clue in of_columns]
        clauses += dict.fromkeys(clues)
        header_labels = int(HEADER in clues and reason == REASONS[LABEL_VALUE])
        clauses += self._describe_labels(header_labels, good_labels, negative_label)
        kinds = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts.items()))
        lines = f"{'' if is_all else 'the first '}{line_count} lines"
        return f"{'; '.join(clauses)}; of {lines} {self.count} malformed ({kinds})"

    def _describe_labels(self, header_labels, good_labels, negative_label):
        """Return a list with a clause on the labels of the file, if there is something to say."""
        labels = self.labels[header_labels:]
        other = -1 - negative_label
        is_other = any(read_label(label.encode(), other) == 0 for label in labels)
        if not is_other and self.counts[REASONS[LABEL_VALUE]] <= 1 + header_labels:
            return []
        listed = [label or "empty" for label in labels[:LISTED_LABELS]]
        listed += [str(label or negative_label) for label in good_labels]
        listed += ["others"] if len(labels) > LISTED_LABELS else []
        flag = f": --negative_label={other} takes {other} for the label of a row without a click" if is_other else ""
        return [f"labels are {_join(listed)}{flag}"]


def _explain(number, line, reason, schema):
    """Return what is wrong with a malformed line, what that says of the file, and what of its columns, in words."""
    if reason == COLUMNS:
        return _explain_columns(number, line, schema)
    cells = line.split(TAB)
    clues = _first_clues(number, line, cells)
    if reason == LABEL_VALUE:
        rule = "-1 or 1" if schema.negative_label else "0 or 1 (or 0.0, 1.0, false, true)"
        return f"line {number}: the label is {_show(cells[0])}; a label is {rule}", clues + _quote_clues(cells[0]), []
    name, cell = next(
        (name, cell) for name, cell in zip(schema.column_names, cells) if _is_wrong(name, cell, reason, schema)
    )
    wrong = f"line {number}: {name} is {_show(cell)}; {_rule(reason)}"
    if reason == INTEGER and _text(cell).strip().lower() in MISSING_WORDS:
        clues.append(f"missing values are written as {_text(cell)}: leave their cells empty")
    return wrong, clues + _quote_clues(cell), []


def _rule(reason):
    if reason == ENCODING:
        return "it is not UTF-8: convert the file with iconv"
    if reason == INTEGER:
        return "an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty if missing"
    return f"with --skip_id_convert=1 a category is an id from 0 to {LARGEST_ID} and cannot be missing"


def _quote_clues(cell):
    is_quoted = len(cell) > 1 and cell[:1] in (b'"', b"'") and cell[:1] == cell[-1:]
    return ["cells are in quotes: write them without"] if is_quoted else []


def _explain_columns(number, line, schema):
    """Do the work of _explain for a line of too few or too many cells."""
    wanted, found = schema.column_count, line.count(TAB) + 1
    start = line[:LONGEST_READ]
    separator = _find_separator(start, wanted) if found == 1 else None
    cells = start.split(separator or TAB)
    clues = []
    if _other_format(number, line) is None:
        clues += [f"the file is {SEPARATORS[separator]} instead of tab-separated"] if separator else []
        clues += ["the file seems to have no label column"] if len(cells) == wanted - 1 else []
    if b"\r" in line.rstrip(b"\r") and found > wanted:
        clues.append("lines end with carriage returns alone: end them with newlines")
    columns = (
        f"1 label, --dense_dim={schema.dense_dim} integers and --slot_dim={schema.slot_dim} categories, "
        "separated by tabs"
    )
    wrong = f"has {found} column{'s' if found > 1 else ''}, {_show(line)}" if line.strip() else "is empty"
    return f"line {number} {wrong}; a row has {wanted}: {columns}", _first_clues(number, line, cells), clues


def _first_clues(number, line, cells):
    """Return what line 1 says of the file by its first bytes, or as a header."""
    if number > 1:
        return []
    if line.startswith(BYTE_ORDER_MARK):
        line, cells = line.removeprefix(BYTE_ORDER_MARK), [cells[0].removeprefix(BYTE_ORDER_MARK), *cells[1:]]
        clues = ["the file begins with a byte order mark: remove its first three bytes"]
        return clues + _first_clues(number, line, cells)
    other_format = _other_format(number, line)
    return [other_format] if other_format else [HEADER] if _is_header(cells) else []


def _other_format(number, line):
    """Return a clause on what the file is if it is no text of rows, judged by the first bytes of line 1; else None."""
    magic = next((magic for magic in OTHER_FORMATS if number == 1 and line.startswith(magic)), None)
    return magic and f"the file {OTHER_FORMATS[magic]}"


def _is_header(cells):
    """Tell whether the cells of line 1, bytes, are names of columns: all different, none a number or a missing one."""
    names = [_text(cell).strip('" ') for cell in cells]
    are_names = all("\\" not in name and not _is_number(name) for name in names)
    # pandas leaves the name of its index, the first column, empty.
    return len(names) > 1 and len(set(names)) == len(names) and all(names[1:]) and are_names


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_wrong(name, cell, reason, schema):
    """Tell whether a cell, bytes, of the column `name` is one for which its line is malformed."""
    if reason == ENCODING:
        return not is_utf8(cell)
    text = cell.decode().rstrip("\r")
    if reason == INTEGER:
        return name in schema.integer_names and text != "" and read_integer(text) is None
    number = read_integer(text)
    return name in schema.category_names and not (number is not None and 0 <= number <= LARGEST_ID)


def is_utf8(data: bytes) -> bool:
    """Tell whether bytes are text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _find_separator(line, column_count):
    """Return what separates the columns of a line without tabs, bytes; None if nothing seems to."""
    counts = {separator: min(line.strip().count(separator), column_count - 1) for separator in SEPARATORS}
    best = max(counts, key=counts.get)
    return best if counts[best] >= max(column_count // 2, 1) else None


def _label_of(line):
    return line.split(TAB, 1)[0]


def _text(cell):
    """Return bytes as text, short and printable."""
    text = cell[: 4 * LONGEST_SHOWN].decode("utf-8", "backslashreplace").rstrip("\r")
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    is_long = len(printable) > LONGEST_SHOWN or len(cell) > 4 * LONGEST_SHOWN
    return printable[:LONGEST_SHOWN] + ("..." if is_long else "")


def _show(cell):
    return f'"{_text(cell)}"'


def _join(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
