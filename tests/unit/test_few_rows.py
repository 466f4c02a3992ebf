# SPDX-License-Identifier: Apache-2.0
"""Few rows by plain Python against many rows by polars, in ClickModel.predict and in the server."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.dataset_meta import DatasetMeta
from src.package import BadRowsError, load_model
from src.package.few_rows import FEW_ROWS
from src.serving.request_errors import LISTED_ROWS, MalformedRows
from src.serving.scoring import score_requests
from tests.conftest import make_rows
from tests.packages import write_random_package

WRITTEN_INTEGERS = (
    *("", "0", "3.0", "1e+16", "-7", "+5", " 5", "1_0", "x", "-0", "5\r", "1e400", "\r", "\u0663", "\u00b2"),
    *("9223372036854775807", "-9223372036854775808", "9223372036854775808", "0" * 30 + "1"),
)
INTEGERS = st.one_of(st.sampled_from(WRITTEN_INTEGERS), st.integers(-(2**63), 2**63).map(str)).map(str.encode)
WRITTEN_CATEGORIES = (b"", b"a", b"b", b"05db9164", b"\r", b"a\r", b"a\0", b"\0", b'"q', b"#", b"\xff", b" a")
CATEGORIES = st.one_of(
    st.sampled_from(WRITTEN_CATEGORIES),
    st.text(st.characters(blacklist_characters="\t\n", blacklist_categories=["Cs"]), max_size=5).map(str.encode),
)
LABELS = st.sampled_from([b"0", b"1", b"1.0", b"true", b"2", b"", b"0\r"])
CELLS = st.tuples(*[INTEGERS] * 3, *[CATEGORIES] * 4).map(b"\t".join)
LINES = st.one_of(
    CELLS,
    CELLS,
    st.tuples(CELLS, st.sampled_from([b"\n", b"\n\n", b"\r\n", b"\n5"])).map(b"".join),
    st.tuples(LABELS, CELLS).map(b"\t".join),
    st.binary(max_size=20),
)


@pytest.fixture(scope="module")
def model(packages):
    return load_model(packages[0])


def predict(model, lines):
    """Return what the path for many rows says: the probabilities, or the malformed rows and their number."""
    try:
        return model.score(model.read(lines))
    except BadRowsError as error:
        return error.faults, error.count


def assert_agrees(answer, expected):
    if isinstance(answer, MalformedRows):
        assert (answer.faults, answer.count) == expected
    else:
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_any_few_rows_are_scored_or_refused_as_many_are(model, lines):
    (answer,) = score_requests(model, [lines])
    assert_agrees(answer, predict(model, lines))


@settings(max_examples=50, deadline=None)
@given(requests=st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=5))
def test_requests_that_are_scored_together_keep_their_own_answers(model, requests):
    for answer, lines in zip(score_requests(model, requests), requests, strict=True):
        assert_agrees(answer, predict(model, lines))


def test_many_rows_of_several_requests_are_split_as_they_came(model):
    lines = [line.encode() for line in make_rows(FEW_ROWS + 50, 3, 4, seed=3).split("\n")]
    expected = model.predict(lines)
    answers = score_requests(model, [lines[:10], lines[10:-1], lines[-1:]])
    assert [len(answer) for answer in answers] == [10, len(lines) - 11, 1]
    np.testing.assert_allclose(np.concatenate(answers), expected, rtol=0, atol=1e-6)


def test_at_most_twenty_malformed_rows_are_named(model):
    lines = [b"x"] * 30 + [b"1\t2\t3\ta\tb\tc\td"]
    with pytest.raises(
        BadRowsError, match=r"^line 1 has 1 column, .* a row has 3 integers and 4 .*; and 29 more$"
    ) as error:
        model.predict(lines)
    (answer,) = score_requests(model, [lines])
    assert str(answer).startswith("30 of 31 rows are malformed: ") and str(answer).endswith("; ...")
    assert list(answer.faults) == list(error.value.faults) == [*range(1, LISTED_ROWS + 1)]


def test_predict_takes_few_lines_and_many_as_text_and_as_bytes(model):
    lines = make_rows(FEW_ROWS + 1, 3, 4, seed=4).split("\n")
    expected = model.score(model.read(lines))
    for count in (0, 1, FEW_ROWS, FEW_ROWS + 1):
        for given_lines in (lines[:count], tuple(line.encode() for line in lines[:count])):
            np.testing.assert_allclose(model.predict(given_lines), expected[:count], rtol=0, atol=1e-6)


def test_a_line_of_millions_of_cells_is_not_split(model):
    lines = [b"a" + b"\t" * 2_000_000, b"x"]
    tracemalloc.start()
    with pytest.raises(BadRowsError, match="has 2000001 columns"):
        model.predict(lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # its cells would take 66 MB


@pytest.fixture(scope="module")
def id_model(make_dataset, tmp_path_factory, cpu):
    """A model of rows whose categories are ids."""
    rows = "\n".join(f"{row % 2}\t{row}\t2\t\t{row % 9}\t{row % 5}\t3\t{row % 7}" for row in range(1000))
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", content=rows))
    return load_model(write_random_package(tmp_path_factory.mktemp("ids") / "model", data).path)


@pytest.mark.parametrize("cell", [b"7", b"7.0", b"-1", b"999999999", b"", b"a"])
def test_categories_that_are_ids_are_read_as_many_are(id_model, cell):
    lines = [b"1\t2\t3\t1\t2\t3\t" + cell]
    assert_agrees(score_requests(id_model, [lines])[0], predict(id_model, lines))
