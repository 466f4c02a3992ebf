# SPDX-License-Identifier: Apache-2.0
"""The lines of the output, cell by cell, for rows of every kind."""

import csv
import io

import numpy as np
import polars as pl
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.preprocessing.chunks import Position, RawChunk, read_source
from src.preprocessing.source import Source
from src.scoring.chunk_scorer import ChunkScorer, schema_to_read
from src.scoring.options import OnBadRow, ScoringOptions
from tests.conftest import make_rows, make_weighted_rows
from tests.packages import write_random_package

ROWS = make_rows(60, 3, 4, seed=6)


@pytest.fixture(scope="module")
def model(packages):
    return load_model(packages[0], threads=1)


def score(model, text, first_line=0, has_label=True, **options):
    scorer = ChunkScorer(model, ScoringOptions("", "", "", **options), has_label=has_label)
    start, schema = Position(rows=first_line), scorer.schema
    scored = scorer(RawChunk(text.encode() + b"\n", start, start, schema, ("", first_line + 1), 1.0))
    return scored, list(csv.reader(io.StringIO((scorer.header() + scored.text).decode(), newline="")))


def test_a_line_has_the_number_of_the_row_and_8_decimals_of_its_float32_probability(model):
    scored, lines = score(model, ROWS, first_line=1000)
    expected = model.predict(ROWS.split("\n"))
    assert lines == [
        ["row", "probability"],
        *([str(1001 + row), f"{p:.8f}"] for row, p in enumerate(expected.tolist())),
    ]
    assert np.array_equal(scored.probabilities, expected)
    assert scored.labels.tolist() == [int(line[0]) for line in ROWS.split("\n")]
    assert (scored.lines, scored.end, scored.bad_lines.count) == (60, Position(rows=1000), 0)


def test_rows_without_a_label_have_the_same_probabilities(model):
    unlabelled = "\n".join(line.partition("\t")[2] for line in ROWS.split("\n"))
    scored, lines = score(model, unlabelled, has_label=False)
    assert lines == score(model, ROWS)[1]
    assert scored.labels is None


def test_weights_come_with_the_labels(weighted_dataset, tmp_path):
    write_random_package(tmp_path / "package", DatasetMeta.load(weighted_dataset), None)
    model = load_model(tmp_path / "package", threads=1)
    lines = make_weighted_rows(60, seed=6).split("\n")
    lines[0], lines[7] = lines[0].rpartition("\t")[0] + "\t-3", lines[7].rpartition("\t")[0] + "\tx"
    scored, _ = score(model, "\n".join(lines))
    assert scored.weights.dtype == np.float32
    assert scored.weights[[0, 7]].tolist() == [0, 0]  # malformed weights
    others = [row for row in range(60) if row not in (0, 7)]
    assert scored.weights[others].tolist() == [float(lines[row].rpartition("\t")[2]) for row in others]
    unlabelled = "\n".join(line.partition("\t")[2] for line in lines)
    assert score(model, unlabelled, has_label=False)[0].weights is None


def test_kept_columns_have_the_text_of_their_values(model):
    rows = [
        "1\t3.0\t\t-5\t05db9164\t\ta,b\tx y",
        '0\t1e+2\t007\t9000000000\t00000000\tffffffff\t"q"\t\r',
        "0\t1\t2\t3\té\t中文\t'\t05db9164",
    ]
    _, (header, *lines) = score(model, "\n".join(rows), keep_columns="label,C1,I1,I2,I3,C2,C3,C4,C1")
    assert header == ["row", "probability", "label", "C1", "I1", "I2", "I3", "C2", "C3", "C4"]
    assert [line[2:] for line in lines] == [
        ["1", "05db9164", "3", "", "-5", "", "a,b", "x y"],
        ["0", "00000000", "100", "7", "9000000000", "ffffffff", '"q"', ""],
        ["0", "é", "1", "2", "3", "中文", "'", "05db9164"],
    ]


@pytest.mark.parametrize("category", ["05db9164", "text"])  # codes and text are stored in different types
def test_a_missing_value_is_kept_as_an_empty_cell(model, category):
    scored, _ = score(model, f"0\t\t1\t1\t\t{category}\ta\ta\n1\t2\t1\t1\t{category}\ta\ta\ta", keep_columns="I1,C1")
    assert [line.split(b",", 2)[2] for line in scored.text.splitlines()] == [b",", f"2,{category}".encode()]


@pytest.mark.parametrize("on_bad_row", [OnBadRow.SKIP, OnBadRow.EMPTY])
def test_malformed_rows_are_left_out_or_have_no_probability(model, on_bad_row):
    lines = ROWS.split("\n")
    lines[0], lines[7], lines[59] = "", lines[7].replace("\t", "\tx", 1), "2" + lines[59][1:]
    scored, (_, *found) = score(model, "\n".join(lines), on_bad_row=on_bad_row, keep_columns="label")
    assert dict(scored.bad_lines.counts) == {"columns": 1, "integer": 1, "label": 1}
    good = {row: line for row, line in enumerate(lines, 1) if row not in (1, 8, 60)}
    probabilities = model.predict(list(good.values())).tolist()
    good = [[str(row), f"{p:.8f}", line[0]] for (row, line), p in zip(good.items(), probabilities)]
    assert [line for line in found if line[1]] == good
    empty = [] if on_bad_row is OnBadRow.SKIP else [[row, "", ""] for row in ("1", "8", "60")]
    assert [line for line in found if not line[1]] == empty
    assert [int(line[0]) for line in found] == sorted(int(line[0]) for line in found)
    assert (scored.lines, len(scored.probabilities), scored.tally.rows) == (60, 57, 57)


def test_a_chunk_without_a_well_formed_row_is_scored(model):
    scored, lines = score(model, "a\nb", on_bad_row=OnBadRow.EMPTY)
    assert lines == [["row", "probability"], ["1", ""], ["2", ""]]
    assert scored.text == b"1,\n2,\n"
    assert score(model, "a\nb")[0].text == b""


def test_explained_rows_have_the_parts_with_all_their_digits(model):
    _, (header, *lines) = score(model, ROWS, explain=True, keep_columns="C1")
    frame = model.explain(ROWS.split("\n")).to_frame()
    assert header == ["row", "probability", "C1", *frame.columns]
    for name in ("bias", "first_order_I1 bucket", "pair_1_value", "mlp", "logit"):
        assert [float(line[header.index(name)]) for line in lines] == pytest.approx(frame[name].to_list(), abs=1e-12)
    numbers = [
        at for at in range(3, len(header)) if not header[at].startswith("pair_") or header[at].endswith("_value")
    ]
    assert all(sum(float(line[at]) for at in numbers[:-1]) == float(line[-1]) for line in lines)
    assert [line[:2] for line in lines] == score(model, ROWS)[1][1:]


@pytest.mark.parametrize(
    ("names", "message"),
    [("C9", "'C9' is not one of the columns, label, I1 to C4"), ("C1,", "'' is not one"), ("label", "have no label")],
)
def test_columns_that_the_rows_do_not_have_are_refused(model, names, message):
    with pytest.raises(UserError, match=f"--keep_columns: .*{message}"):
        score(model, ROWS, has_label=False, keep_columns=names)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_that_the_model_does_not_use_are_kept_where_a_file_names_them(model, tmp_path, suffix):
    names = ["label", *model.encoder.schema.value_names]
    rows = [line.split("\t") for line in ROWS.split("\n")[:3]]
    frame = pl.DataFrame([["a", *rows[0]], ["", *rows[1]], ["c,d", *rows[2]]], schema=["id", *names], orient="row")
    path = tmp_path / f"rows.{suffix}"
    getattr(frame, f"write_{suffix}")(path)
    options = ScoringOptions("", "", "", keep_columns="id,label")
    scorer = ChunkScorer(model, options, has_label=True)
    (chunk,) = read_source(Source.find(str(path)), schema_to_read(model, options), 1 << 20)
    header, *found = csv.reader(io.StringIO((scorer.header() + scorer(chunk).text).decode()))
    assert header == ["row", "probability", "id", "label"]
    assert [row[2:] for row in found] == [["a", rows[0][0]], ["", rows[1][0]], ["c,d", rows[2][0]]]
    assert [row[:2] for row in found] == score(model, "\n".join(ROWS.split("\n")[:3]))[1][1:]


def test_a_column_that_no_file_names_is_refused(model, tmp_path):
    (tmp_path / "rows.csv").write_text("label\n1\n")
    options = ScoringOptions("", "", "", keep_columns="id")
    with pytest.raises(UserError, match=r"rows\.csv: there is no column"):
        list(read_source(Source.find(str(tmp_path)), schema_to_read(model, options), 100))
