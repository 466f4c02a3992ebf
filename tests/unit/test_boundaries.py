# SPDX-License-Identifier: Apache-2.0
import gzip
from collections import Counter

import polars as pl
import pytest

from src.preprocessing.boundaries import TimeSplit, add_times, count_times
from src.preprocessing.pieces import cut
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.source import Source
from src.preprocessing.splits import KeySplits, SplitBy

COMMAS = TextFormat(",", True)
BY_TIME = FieldSchema(("age",), ("site",), time_name="when", label_name="click", text=COMMAS)
BY_ROW = FieldSchema(("age",), ("site",), label_name="click", text=COMMAS)
HEADER = "when,click,site,age"


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in (HEADER, *lines)))
    return path


def place(source, schema, ratios, chunk_bytes=1 << 20, max_batch=1 << 20):
    return TimeSplit(*ratios).place(KeySplits.from_ratios(1, *ratios), source, schema, chunk_bytes, max_batch)


@pytest.mark.parametrize(("chunk_bytes", "max_batch"), [(1 << 20, 1 << 20), (1, 1), (40, 3)])
def test_the_boundaries_are_those_of_all_files_together(tmp_path, chunk_bytes, max_batch):
    # 10 rows, whose times are 0 .. 9 in no order: the last 0.2 are the test split, and 0.3 before them validation.
    first = write(tmp_path / "1.csv", [f"{time},{time % 2},a,1" for time in (8, 0, 5, 3)])
    other = write(tmp_path / "2.csv", [f"{time},{time % 2},b,2" for time in (9, 1, 7, 2, 6, 4)])
    splits = place(Source((first, other)), BY_TIME, (0.3, 0.2), chunk_bytes, max_batch)
    assert (splits.by, splits.valid_from, splits.test_from) == (SplitBy.TIME, 5, 8)
    splits = place(Source((first, other)), BY_ROW, (0.3, 0.2), chunk_bytes, max_batch)
    assert (splits.by, splits.valid_from, splits.test_from) == (SplitBy.ROW, 5, 8)


def test_rows_in_files_of_their_own_do_not_count(tmp_path):
    divided = write(tmp_path / "1.csv", [f"{time},0,a,1" for time in range(10)])
    own = write(tmp_path / "2.csv", [f"{time},0,a,1" for time in range(1000)])
    source = Source((divided, own), own_counts=(1, 0))
    assert place(source, BY_TIME, (0.0, 0.2)).test_from == 8
    splits = place(source, BY_ROW, (0.0, 0.2))
    assert (splits.valid_from, splits.test_from) == (None, 8)


def test_malformed_rows_count_by_row_and_not_by_time(tmp_path):
    # A split by row does not read the cells; one by time is of the rows that have a time, a label and all columns.
    bad = [",1,a,1", "7,x,a,1", "7,1", "tomorrow,0,a,1", "1.5,0,a,1"]
    path = write(tmp_path / "1.csv", [*bad, *(f"{time},0,a,1" for time in range(10))])
    assert place(Source((path,)), BY_TIME, (0.0, 0.2)).test_from == 8
    assert place(Source((path,)), BY_ROW, (0.0, 0.2)).test_from == 12


def test_dates_are_in_the_order_of_time(tmp_path):
    times = [f"2014-10-{day:02} 13:05:22" for day in (22, 21, 25, 24, 23)]
    path = write(tmp_path / "1.csv", [f"{time},0,a,1" for time in times])
    splits = place(Source((path,)), BY_TIME, (0.0, 0.2))
    frame = pl.DataFrame({"time": times}).select(pl.col("time").str.to_datetime(time_unit="us").cast(pl.Int64))
    assert splits.test_from == frame["time"].max()


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_the_times_of_all_pieces_are_those_of_the_rows(tmp_path, name):
    times = [row * row % 97 for row in range(500)]
    lines = [f"{time},{row % 2},s{row % 7},{row}" for row, time in enumerate(times)]
    path = write(tmp_path / "a.csv", lines)
    if name.endswith("gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    if name.endswith("parquet"):
        pl.read_csv(path).write_parquet(tmp_path / name)
    pieces = cut(Source((tmp_path / name,)), 1000)
    found = add_times(count_times(piece, BY_TIME, 100, 10) for piece in pieces)
    assert dict(found.iter_rows()) == Counter(times)


@pytest.mark.parametrize("lines", [[], ["soon,1,a,1"] * 3])
def test_rows_without_a_time_are_left_to_the_reader_who_refuses_them(tmp_path, lines):
    splits = place(Source((write(tmp_path / "1.csv", lines),)), BY_TIME, (0.1, 0.2))
    assert (splits.by, splits.is_mapped) == (SplitBy.TIME, True)
