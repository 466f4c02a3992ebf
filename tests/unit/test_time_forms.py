# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from src.preprocessing.raw_cells import read_integers
from src.preprocessing.schema_inference.time_forms import find_time_form

SECONDS = [str(1_511_544_070 + 60 * number) for number in range(10)]


@pytest.mark.parametrize(
    ("name", "values", "form"),
    [
        ("c1", ["2014-10-21", "2014-10-22"], "ISO"),
        ("c1", ["2014-10-21 23:59:59.5", "2014-10-22T00:00Z", "2014-10-22T00:00:00+02:00"], "ISO"),
        ("c1", ["2014-13-21"], ""),
        ("hour", ["14102100"], "YYMMDDHH"),
        ("c1", ["14102100"], ""),  # by chance
        ("c1", [f"141021{hour:02}" for hour in range(10)], "YYMMDDHH"),
        ("eventDate", ["20141021"], "YYYYMMDD"),
        ("date", ["20141321"], ""),
        ("ts", ["20141021235959"], "YYYYMMDDHHMMSS"),
        ("c1", SECONDS, "unix seconds"),
        ("c1", [f"{each}000" for each in SECONDS], "unix milliseconds"),
        ("c1", [*SECONDS, "2100000000"], ""),  # 18 years
        ("timestamp", [*SECONDS, "2100000000"], "unix seconds"),
        ("hour", [str(hour) for hour in range(24)], ""),
        ("timestamp", [str(second) for second in range(101)], "numbers"),
        ("runtime", [str(second) for second in range(101)], ""),
    ],
)
def test_times_are_known_by_their_form_and_by_their_name(name, values, form):
    texts = pl.Series(values)
    assert find_time_form(name, texts, read_integers(texts)) == form
