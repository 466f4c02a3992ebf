# SPDX-License-Identifier: Apache-2.0
"""Rows in the forms that a schema describes, against a reference that reads line by line with Python's csv."""

import csv
import dataclasses
import datetime
import io
import math
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.package.few_rows import read_columns
from src.package.rows import BadRowsError
from src.preprocessing.raw_columns import MISSING, to_texts
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import LABEL, LINE_NUMBER, TIME, WEIGHT, FieldSchema, TextFormat

NAMES = ("skipped", "site", "click", "age", "price", "app", "tags", "shown", "at")
FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def schema_of(separator, missing=(), clicks=()):
    return FieldSchema(
        ("age",), ("site", "app"), float_names=("price",), list_names=("tags",), list_separators=("/",),
        weight_name="shown", time_name="at", label_name="click", clicks=clicks, file_columns=NAMES,
        text=TextFormat(separator, missing=missing),
    )  # fmt: skip


def cells_of(line, text):
    """Return the cells of a line by column; None if there are more or fewer than columns."""
    cells = line.split(text.separator)
    if text.has_quotes:
        try:
            (cells,) = csv.reader([line], delimiter=text.separator, strict=True)
        except (csv.Error, ValueError):
            return None
    return dict(zip(NAMES, cells)) if len(cells) == len(NAMES) else None


def label_of(cell, schema):
    """Return the label that a cell writes; None if it writes none."""
    if schema.clicks:
        return None if cell in ("", *schema.text.missing) else int(cell in schema.clicks)
    return int(cell) if cell in ("0", "1") else None


def float_of(cell):
    """Return the number in a cell, NaN if it is missing; ValueError if there is none."""
    if cell is None:
        return math.nan
    if not FLOAT.fullmatch(cell) or math.isinf(float(cell)):
        raise ValueError(cell)
    return float(cell)


def time_of(cell):
    """Return an integer, or the microseconds of a date and time; ValueError if there is none."""
    if cell is None:
        raise ValueError("missing")
    try:
        return int(cell)
    except ValueError:
        return round((datetime.datetime.fromisoformat(cell) - datetime.datetime(1970, 1, 1)).total_seconds() * 1e6)


def reference(line, schema):
    """Return the label, the time, the weight and the values of a line, or the reason why it is malformed."""
    row = cells_of(line, schema.text)
    if row is None:
        return "columns"
    label = label_of(row["click"], schema)
    if label is None:
        return "label"
    values = {name: None if cell in ("", *schema.text.missing) else cell for name, cell in row.items()}
    found = []
    used = {"age", "price", schema.weight_name, schema.time_name}
    for name, read in (("age", integer_of), ("price", float_of), ("shown", weight_of), ("at", time_of)):
        try:
            found.append(read(values[name]) if name in used else None)
        except ValueError:
            return {"age": "integer", "price": "float", "shown": "weight", "at": "time"}[name]
    age, price, weight, time = found
    return label, time, weight, age, price, values["site"], values["app"], values["tags"]


def integer_of(cell):
    return None if cell is None else int(cell)


def weight_of(cell):
    weight = float_of(cell)
    if not 0 <= weight <= np.finfo(np.float32).max:
        raise ValueError(cell)
    return float(np.float32(weight))


def rows_of(parsed):
    """Return by line number, from 0, the rows of a ParsedChunk as reference() gives them."""
    frame = parsed.frame
    ages = [None if value == MISSING[frame["age"].dtype] else value for value in frame["age"].to_list()]
    texts = [to_texts(frame[name]) if frame[name].dtype == pl.UInt32 else frame[name] for name in ("site", "app")]
    texts = [[value or None for value in column.to_list()] for column in (*texts, frame["tags"])]
    numbers = [frame[name].to_list() for name in (LABEL, TIME, WEIGHT)]
    return dict(zip(frame[LINE_NUMBER].to_list(), zip(*numbers, ages, frame["price"].to_list(), *texts)))


def without_nan(rows):
    """Return rows, tuples by number, with texts in place of NaN, which equals nothing."""
    return {row: tuple("NaN" if str(value) == "nan" else value for value in values) for row, values in rows.items()}


CELLS = st.one_of(
    st.sampled_from(["", "0", "1", "7", "NA", "null", "x", "0a9db164", 'a"b', '"', "a,b", "a|b", " 5", "-3", "yes"]),
    st.text("ab,|\";' é", max_size=4),
)
AGES = st.sampled_from(["", "5", "5", "-17", "NA", "x", "3000000000"])
PRICES = st.sampled_from(["", "0.5", "1e3", "-.25", "7.", "-0", "NA", "nan", "inf", "1e999", "4e-324", "x", "0.1 "])
TAGS = st.sampled_from(["", "a", "a/b", "b/a/c", "//", "NA", "0a9db164", "a/,"])
WEIGHTS = st.sampled_from(["1", "2.5", "1", "0", "-1", "", "NA", "1e39"])
TIMES = st.sampled_from(
    ["14102100", "2014-10-21", "2014-10-21 13:05:22", "2014-10-21T13:05:22.25", "-5", "", "x", "NA"]
)
LABELS = st.sampled_from(["0", "1", "1", "yes", "no", "", "NA", "2"])


@st.composite
def lines(draw):
    """Lines of nine cells with each separator, most of them quoted where they must be."""
    separator = draw(st.sampled_from([",", "|", ";"]))
    found = []
    for _ in range(draw(st.integers(1, 8))):
        cells = [draw(kind) for kind in (CELLS, CELLS, LABELS, AGES, PRICES, CELLS, TAGS, WEIGHTS, TIMES)]
        if separator == "," and draw(st.integers(0, 9)):
            buffer = io.StringIO()
            csv.writer(buffer, quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))).writerow(cells)
            found.append(buffer.getvalue().rstrip("\r\n"))
        else:
            found.append(separator.join(cells))
    return separator, found


@settings(max_examples=400, deadline=None)
@given(lines=lines(), missing=st.sampled_from([(), ("NA", "null")]), clicks=st.sampled_from([(), ("1", "yes")]))
def test_any_lines_agree_with_pythons_csv(lines, missing, clicks):
    separator, found = lines
    schema = schema_of(separator, missing, clicks)
    expected = [reference(line, schema) for line in found]
    parsed = parse_chunk("".join(f"{line}\n" for line in found).encode(), 0, schema)
    good = {row: values for row, values in enumerate(expected) if isinstance(values, tuple)}
    assert without_nan(rows_of(parsed)) == without_nan(good)
    assert [(line.number, line.reason) for line in parsed.bad_lines.first] == [
        (row + 1, values) for row, values in enumerate(expected) if isinstance(values, str)
    ]


@settings(max_examples=150, deadline=None)
@given(lines=lines(), missing=st.sampled_from([(), ("NA", "null")]))
def test_few_rows_are_read_as_many_are(lines, missing):
    separator, found = lines
    schema = dataclasses.replace(schema_of(separator, missing), weight_name=None, time_name=None)
    expected = [reference(line, schema) for line in found]
    if all(isinstance(values, tuple) for values in expected):
        age, price, *texts = read_columns(found, schema)
        ages = [None if value == -(2**63) else value for value in age]
        read = list(zip(ages, price, *([value or None for value in column] for column in texts)))
        assert without_nan(dict(enumerate(read))) == without_nan({row: each[3:] for row, each in enumerate(expected)})
    elif sum(line.count(separator) == 8 for line in found) > len(found) / 2:
        with pytest.raises(BadRowsError) as caught:
            read_columns(found, schema)
        assert list(caught.value.faults) == [row + 1 for row, values in enumerate(expected) if isinstance(values, str)]


def test_a_clean_csv_takes_the_fast_path(monkeypatch):
    monkeypatch.setattr("src.preprocessing.raw_rows.judge_lines", None)
    text = 'i,"a,b",1,5,0.25,x,t/u,2,7\ni,c,0,,,"say ""yes""",,1,2014-10-21\n'
    parsed = parse_chunk(text.encode(), 10, schema_of(","))
    day = (datetime.date(2014, 10, 21) - datetime.date(1970, 1, 1)).days * 86_400_000_000
    assert without_nan(rows_of(parsed)) == {
        10: (1, 7, 2.0, 5, 0.25, "a,b", "x", "t/u"),
        11: (0, day, 1.0, None, "NaN", "c", 'say "yes"', None),
    }


def test_a_row_to_score_without_a_weight_does_not_count_in_the_metrics():
    schema = schema_of(",").to_score(largest_id=0)
    parsed = parse_chunk(b"i,a,1,5,1,x,t,,anything\ni,a,1,5,1,x,t,-2,\ni,a,1,5,1,x,t,3,\n", 0, schema)
    assert parsed.frame[WEIGHT].to_list() == [0, 0, 3]
    assert parsed.bad_lines.count == 0


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("i,a,,5,1,x,t,1,1", 'the label is ""; a label is yes or 1 for a click, and no missing value'),
        ("i,a,no,five,1,x,t,1,1", 'age is "five"; an integer lies between -2^63 and 2^63, as 3 or 3.0'),
        ("i,a,no,NA,inf,x,t,1,1", 'price is "inf"; a float is a finite number, as 0.25 or 1e-3'),
        ("i,a,no,5,1,x,t,-1,1", 'shown is "-1"; a weight is a finite number of at least 0'),
        ("i,a,no,5,1,x,t,1,now", 'at is "now"; a time is an integer, or a date and time as 2014-10-21 13:05:22'),
    ],
)
def test_messages_name_the_column_and_its_place(line, fault):
    schema = schema_of(",", missing=("NA",), clicks=("yes", "1"))
    parsed = parse_chunk(f"i,a,yes,5,1,x,t,1,1\n{line}\ni,a,no\n".encode(), 10, schema, "day_1.csv", 3)
    assert parsed.bad_lines.diagnoses[0].fault.startswith(f"line 4 of day_1.csv: {fault}")
    assert parsed.bad_lines.diagnoses[1].fault.startswith("line 5 of day_1.csv has 3 columns")


def reasons_of(text, schema):
    return [(line.number, line.reason) for line in parse_chunk(text, 0, schema).bad_lines.first]


def test_carriage_returns_at_the_end_of_a_line_are_no_part_of_its_label():
    schema = FieldSchema((), ("site",), file_columns=("site", "label"), text=TextFormat(","))
    assert reasons_of(b"a,1\r\nb,0\r\r\n", schema) == []
    assert reasons_of(b'a,1\r\n"b",0\r\nc,x\r\n', schema) == [(3, "label")]
    assert read_columns([b"a,1\r", b"b,0"], schema) == [["a", "b"]]


def test_a_long_label_is_read_to_its_end():
    schema = FieldSchema((), ("site",), clicks=("1",), text=TextFormat(missing=("unknown",)))
    assert reasons_of(b"unknown\ta\n1\r\r\r\r\rx\tb\n", schema) == [(1, "label")]
    assert parse_chunk(b"1\r\r\r\r\rx\tb\nunknown\ta\n", 0, schema).frame[LABEL].to_list() == [0]


def test_malformed_quotes_are_no_missing_value_of_the_only_column():
    schema = FieldSchema((), ("site",), text=TextFormat(","), has_label=False)
    assert reasons_of(b'"a\n"b"\n', schema) == [(1, "columns")]


def test_a_missing_value_is_not_named_as_a_fault():
    schema = FieldSchema(("age", "visits"), ("site",), has_label=False, text=TextFormat(missing=("NA",)))
    (found,) = parse_chunk(b"NA\tx\ta\n", 0, schema).bad_lines.diagnoses
    assert found.fault.startswith('line 1: visits is "x"')
