# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from src.preprocessing.schema import TextFormat
from src.preprocessing.schema_inference.criteo_form import CRITEO, has_criteo_form
from src.preprocessing.schema_inference.first_rows import FirstRows

CELLS = ["1", "-2", *[None] * 12, *["68fd1e64"] * 25, None]  # a label, 13 integers, 26 categories
NAMES = ["label", *CRITEO.value_names]
TABS, COMMAS = TextFormat(), TextFormat(",", has_header=True)


def rows_of(cells, names, text):
    return FirstRows(pl.DataFrame([cells], names, orient="row"), text)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (CELLS, True),
        (CELLS[1:], True),  # without labels
        (CELLS[2:], False),
        ([*CELLS, "x"], False),
        (["2", *CELLS[1:]], False),
        (["1", "0.5", *CELLS[2:]], False),
        ([*CELLS[:-1], "NULL"], False),
    ],
)
def test_text_with_tabs_has_the_columns_by_their_order(cells, expected):
    rows = rows_of(cells, [f"c{number}" for number in range(len(cells))], TABS)
    assert has_criteo_form(rows, is_csv=False) is expected
    assert not has_criteo_form(rows, is_csv=True)


def test_csv_and_parquet_have_the_columns_by_their_names():
    for text, is_csv in ((COMMAS, True), (None, False)):
        assert has_criteo_form(rows_of(CELLS, NAMES, text), is_csv)
        assert has_criteo_form(rows_of(CELLS[::-1], NAMES[::-1], text), is_csv)
        assert not has_criteo_form(rows_of(CELLS, [*NAMES[:-1], "C27"], text), is_csv)
    assert not has_criteo_form(rows_of(CELLS, NAMES, COMMAS), is_csv=False)  # the name of a file decides
