# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing.cluster.blob_file import FrameFile, write_frames
from src.preprocessing.cluster.tally_files import add_files, add_partition, save_counts
from src.preprocessing.value_counts import summarize
from tests.unit.test_value_counts import CODES, INTEGERS, TEXTS, WIDE_INTEGERS, plain


@settings(max_examples=25, deadline=None)
@given(
    chunks=st.lists(st.one_of(INTEGERS, WIDE_INTEGERS), min_size=1) | st.lists(st.one_of(CODES, TEXTS), min_size=1),
    threshold=st.integers(0, 3),
    partitions=st.integers(1, 4),
    fan_in=st.integers(2, 4),
)
def test_a_tree_of_sums_agrees_with_a_counter(tmp_path_factory, chunks, threshold, partitions, fan_in):
    folder = tmp_path_factory.mktemp("counts")
    other = pl.Series("other", ["never"] * 9)
    paths = [folder / str(number) for number in range(len(chunks))]
    for path, chunk in zip(paths, chunks):
        save_counts(path, [other, chunk.rename("C1")], partitions, 100)
    while len(paths) > fan_in:
        groups = [paths[start : start + fan_in] for start in range(0, len(paths), fan_in)]
        paths = [folder / f"{len(paths)}-{number}" for number in range(len(groups))]
        for path, group in zip(paths, groups):
            add_files(path, group, "C1", partitions, 100)
    sums = [add_partition(map(FrameFile, paths), "C1", number, 100) for number in range(partitions)]
    summaries = [summarize(counts, threshold) for counts in sums if counts]
    expected = Counter(value for chunk in chunks for value in plain(chunk))
    assert sum(summary.missing for summary in summaries) == expected.pop(None, 0)
    assert sum(summary.distinct for summary in summaries) == len(expected)
    got = [row for summary in summaries for row in summary.frequent.rows()]
    assert len(got) == len(dict(got))
    assert dict(got) == {value: count for value, count in expected.items() if count > threshold}


def test_the_partitions_divide_the_values_about_evenly(tmp_path):
    save_counts(tmp_path / "a", [pl.Series("C1", range(10_000), dtype=pl.UInt32)], 4, 20_000)
    sizes = [add_partition([FrameFile(tmp_path / "a")], "C1", number, 20_000)[pl.UInt32].height for number in range(4)]
    assert sum(sizes) == 10_000
    assert min(sizes) > 2_300  # of 2,500; the standard deviation is 43


def test_a_value_is_in_the_same_partition_in_each_file(tmp_path):
    for name in "ab":
        save_counts(tmp_path / name, [pl.Series("C1", ["x", "y", "z"])], 3, 10)
    for number in range(3):
        one, other = (add_partition([FrameFile(tmp_path / name)], "C1", number, 10) for name in "ab")
        assert {dtype: set(counts.rows()) for dtype, counts in one.items()} == {
            dtype: set(counts.rows()) for dtype, counts in other.items()
        }


@pytest.mark.parametrize("partitions", [1, 3])
def test_codes_that_are_mostly_different_take_no_counts_and_are_added_to_others_that_have_them(tmp_path, partitions):
    different, alike = range(8000), [value % 7 for value in range(8000)]
    for name, values in (("different", different), ("alike", alike)):
        save_counts(tmp_path / name, [pl.Series("C1", values, dtype=pl.UInt32)], partitions, 8000)
    columns = [
        FrameFile(tmp_path / name).read([f"C1/UInt32/{number}" for number in range(partitions)]).values()
        for name in ("different", "alike")
    ]
    assert [{tuple(frame.columns) for frame in frames} for frames in columns] == [{("value",)}, {("value", "count")}]
    files = [FrameFile(tmp_path / name) for name in ("different", "alike")]
    sums = [add_partition(files, "C1", number, 8000)[pl.UInt32] for number in range(partitions)]
    assert dict(pl.concat(sums).rows()) == Counter([*different, *alike])


def test_frames_come_back_by_name_and_unknown_ones_are_left_out(tmp_path):
    frames = {"a": pl.DataFrame({"value": [1, 2]}), "b": pl.DataFrame({"value": ["x"]}), "empty": pl.DataFrame()}
    write_frames(tmp_path / "frames", frames.items())
    found = FrameFile(tmp_path / "frames").read(["b", "c", "a"])
    assert list(found) == ["b", "a"]
    assert all(frame.equals(frames[name]) for name, frame in found.items())


def test_a_truncated_file_is_an_error(tmp_path):
    write_frames(tmp_path / "frames", [("a", pl.DataFrame({"value": [1, 2]}))])
    content = (tmp_path / "frames").read_bytes()
    (tmp_path / "frames").write_bytes(content[:-3])
    with pytest.raises((OSError, ValueError)):
        FrameFile(tmp_path / "frames")
