# SPDX-License-Identifier: Apache-2.0
import bz2
import gzip

import polars as pl
import pytest

from src.common.errors import UserError
from src.preprocessing.schema_inference.first_rows import read_first_rows
from src.preprocessing.source import Source
from tests.raw_data import archive_of

CSV = b'label,site\r\n1,"a,b"\r\n0,\r\n1\r\n' + b"0,c\r\n" * 7  # the third row lacks a cell
ROWS = [("1", "a,b"), ("0", None), *[("0", "c")] * 7]


def first_rows(path, count=100):
    return read_first_rows(Source.find(str(path)), count)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", CSV),
        ("log.csv.gz", gzip.compress(CSV)),
        ("log.bz2", bz2.compress(CSV)),
        ("log.tar.gz", archive_of(CSV, "log.csv")),
    ],
    ids=["csv", "gz", "bz2", "tar.gz"],
)
def test_text_is_read_from_files_of_all_kinds(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    rows = first_rows(tmp_path / name)
    assert rows.frame.columns == ["label", "site"]
    assert (rows.frame.rows(), rows.malformed, rows.text.separator) == (ROWS, 1, ",")
    assert first_rows(tmp_path / name, 2).frame.rows() == ROWS[:2]


def test_the_rows_of_several_files_come_in_order_without_headers_and_without_other_forms(tmp_path):
    for name, text in {"1.csv": "label,x\n0,a\n", "2.csv": "label,x\n1,b\n", "3.csv": "x,label\nc,1\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "4.parquet").write_bytes(b"not read")
    assert first_rows(tmp_path).frame.rows() == [("0", "a"), ("1", "b")]
    assert first_rows(tmp_path, 1).frame.rows() == [("0", "a")]


def test_columns_without_a_header_are_counted(tmp_path):
    (tmp_path / "log.csv").write_text("0\ta\n1\tb\n1\tc\n")  # tabs in spite of the name
    rows = first_rows(tmp_path, 2)
    assert (rows.frame.columns, rows.frame.rows()) == (["c1", "c2"], [("0", "a"), ("1", "b")])
    assert not rows.names_columns


def test_quotes_are_read_as_preprocessing_reads_them(tmp_path):
    lines = ['1,"a ""b"", c"', '0,a"b', '1,"', *["0,c"] * 17]  # the quote of the third is not closed
    (tmp_path / "log.csv").write_text("\n".join(["label,site", *lines]))
    rows = first_rows(tmp_path)
    assert (rows.frame.rows()[:3], rows.malformed) == ([("1", 'a "b", c'), ("0", 'a"b'), ("0", "c")], 1)


def test_parquet_keeps_its_types(tmp_path):
    pl.DataFrame({"x": [1, 2], "y": [["a"], []]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"z": [0.5], "y": [["b"]], "x": [3]}).write_parquet(tmp_path / "2.parquet")
    rows = first_rows(tmp_path)
    assert rows.frame.to_dict(as_series=False) == {"x": [1, 2, 3], "y": [["a"], [], ["b"]]}
    assert rows.names_columns
    assert first_rows(tmp_path, 1).frame.rows() == [(1, ["a"])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"label,x\n", "has no rows"),
        ("log.csv", b"\xff\xfea\x00", "is UTF-16: write it as UTF-8"),
        ("log.csv", b"\xe4,1\n", "is not UTF-8: convert it with iconv"),
        ("log.csv", b"abc\n", "the lines have no separator in common"),
        ("log.csv.gz", gzip.compress(CSV)[:-9], "is damaged or truncated"),
        ("log.parquet", b"PAR1" * 9, "is damaged or no Parquet file"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        first_rows(tmp_path / name)


def test_files_whose_types_differ_are_refused(tmp_path):
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"x": [["a"]]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(UserError, match=r"2 files in .*: a column has another type in another file"):
        first_rows(tmp_path)
