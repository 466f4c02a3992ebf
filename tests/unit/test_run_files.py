# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import polars as pl
import pytest

from src.preprocessing.cluster.key_ranges import KeyRanges
from src.preprocessing.cluster.run_files import Run, read_first_rows, read_ranges, row_bytes, write_run
from src.preprocessing.cluster.storage import Directory
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import KEY, LABEL, WEIGHT, FieldSchema
from src.preprocessing.splits import KeySplits
from tests.unit.test_spill import expected_rows, rows_of

SCHEMA = FieldSchema.criteo(1, 1)
RANGES = KeyRanges(KeySplits.from_ratios(1, 0.1, 0.3), 3)


def rows_with_labels(seed, wide):
    rows = rows_of(seed, wide)
    return rows.with_columns(pl.Series(LABEL, np.arange(rows.height) % 2, dtype=pl.Int8))


def write(tmp_path, frames, schema=SCHEMA):
    """Write frames as runs; return the runs and their first rows, [ranges + 1, runs]."""
    runs = []
    for number, frame in enumerate(frames):
        wide = write_run(tmp_path / f"run-{number}", frame, RANGES, schema)
        runs.append(Run(f"run-{number}", 0, wide))
    return runs, np.stack([read_first_rows(Directory(str(tmp_path)), run.path) for run in runs], axis=1)


@pytest.mark.parametrize("wide", [(False, False, False), (False, True, False), (True, True)])
@pytest.mark.parametrize(("first_range", "end_range"), [(0, 10), (0, 1), (2, 5), (9, 10), (4, 4)])
def test_the_rows_of_a_range_of_keys_come_back_from_all_runs(tmp_path, wide, first_range, end_range):
    frames = [rows_with_labels(seed, is_wide) for seed, is_wide in enumerate(wide)]
    runs, first_rows = write(tmp_path, frames)
    assert len(RANGES.starts) == 10  # 2^3, and the starts of two splits between them
    found = read_ranges(
        Directory(str(tmp_path)), runs, first_rows[first_range : end_range + 1], first_range, end_range, SCHEMA
    )
    bounds = [*RANGES.starts.tolist(), 2**64]
    expected = [row for row in expected_rows(*frames) if bounds[first_range] <= row[0] < bounds[end_range]]
    assert expected_rows(found.sort(KEY)) == expected
    labels = {row[0]: row[-1] for frame in frames for row in frame.select(KEY, LABEL).rows()}
    assert found[LABEL].to_list() == [labels[key] for key in found[KEY].to_list()]


def test_ordinary_rows_have_no_wide_column_and_wide_ones_name_theirs(tmp_path):
    runs, _ = write(tmp_path, [rows_with_labels(1, False), rows_with_labels(2, True)])
    assert [run.wide for run in runs] == [{}, {"I1": "Int64", "C1": "String"}]
    assert row_bytes(SCHEMA) == 24  # 8 + 4 + 4 + 1, aligned to 8 bytes
    assert (tmp_path / "run-0.rows").stat().st_size == 50 * 24


def test_more_rows_than_a_slice_come_back_as_they_were(tmp_path):
    count = 20_000
    keys = np.sort(np.random.default_rng(3).integers(0, 2**64, count, dtype=np.uint64))
    integers = pl.Series("I1", range(count), dtype=pl.Int32)
    integers[7] = MISSING[pl.Int32]
    frame = pl.DataFrame(
        [
            pl.Series(KEY, keys),
            integers,
            pl.Series("C1", range(count), dtype=pl.UInt32),
            pl.Series(LABEL, [1] * count, dtype=pl.Int8),
        ]
    )
    runs, first_rows = write(tmp_path, [frame])
    assert read_ranges(Directory(str(tmp_path)), runs, first_rows, 0, 10, SCHEMA).equals(frame)


CLICK_LOG = FieldSchema(("I1",), ("C1",), ("price",), ("tags",), ("|",), weight_name="weight")


def click_log_rows(seed, wide):
    """Return rows with weights, floats and multi-valued texts of any length."""
    random = np.random.default_rng([5, seed])
    rows = rows_with_labels(seed, wide)
    floats = [math.nan, 0.0, 5e-324, -1e300, *random.normal(size=rows.height - 4).tolist()]
    tags = ["|".join(["é"] * count) for count in random.integers(0, 4, rows.height)]
    weights = pl.Series(WEIGHT, random.random(rows.height), dtype=pl.Float32)
    return rows.with_columns(pl.Series("price", floats), pl.Series("tags", tags), weights)


@pytest.mark.parametrize("wide", [(False,), (True,), (False, True, False)])
@pytest.mark.parametrize(("first_range", "end_range"), [(0, 10), (2, 5), (9, 10), (4, 4)])
def test_floats_weights_and_multi_valued_texts_come_back(tmp_path, wide, first_range, end_range):
    frames = [click_log_rows(seed, is_wide) for seed, is_wide in enumerate(wide)]
    runs, first_rows = write(tmp_path, frames, CLICK_LOG)
    assert row_bytes(CLICK_LOG) == 32  # 8 + 8 + 4 + 4 + 4 + 1, aligned to 8 bytes
    found = read_ranges(
        Directory(str(tmp_path)), runs, first_rows[first_range : end_range + 1], first_range, end_range, CLICK_LOG
    ).sort(KEY)
    bounds = [*RANGES.starts.tolist(), 2**64]
    expected = pl.concat([frame.select(KEY, "price", "tags", WEIGHT, LABEL) for frame in frames]).sort(KEY)
    if first_range < end_range:
        in_range = pl.col(KEY) >= bounds[first_range]
        in_range &= pl.col(KEY) < bounds[end_range] if end_range < 10 else pl.lit(True)
        expected = expected.filter(in_range)
    else:
        expected = expected.clear()
    assert found.select(expected.columns).equals(expected) and found.height == expected.height


def test_a_truncated_run_is_an_error(tmp_path):
    runs, first_rows = write(tmp_path, [rows_with_labels(1, False)])
    with open(tmp_path / "run-0.rows", "r+b") as file:
        file.truncate(100)
    with pytest.raises(OSError, match=r"run-0\.rows is truncated"):
        read_ranges(Directory(str(tmp_path)), runs, first_rows, 0, 10, SCHEMA)
