# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing.cluster.blob_file import FrameFile, write_frames
from src.preprocessing.cluster.storage import Directory
from src.preprocessing.cluster.tally_files import add_files, add_partition, save_counts
from src.preprocessing.value_counts import summarize
from tests.unit.test_value_counts import CODES, FLOATS, INTEGERS, TEXTS, WIDE_INTEGERS, plain


def frame_file(path):
    return FrameFile(Directory(str(path.parent)), path.name)


@settings(max_examples=25, deadline=None)
@given(
    chunks=st.one_of(
        *(st.lists(st.one_of(*kinds), min_size=1) for kinds in ((INTEGERS, WIDE_INTEGERS), (CODES, TEXTS), (FLOATS,)))
    ),
    threshold=st.integers(0, 3),
    partitions=st.integers(1, 4),
    fan_in=st.integers(2, 4),
)
def test_a_tree_of_sums_agrees_with_a_counter(tmp_path_factory, chunks, threshold, partitions, fan_in):
    folder = tmp_path_factory.mktemp("counts")
    other = pl.Series("other", ["never"] * 9)
    paths = [folder / str(number) for number in range(len(chunks))]
    for path, chunk in zip(paths, chunks):
        save_counts(path, [other, chunk.rename("C1")], 100)
    input_partitions = 1
    while len(paths) > fan_in or input_partitions < partitions:
        groups = [paths[start : start + fan_in] for start in range(0, len(paths), fan_in)]
        paths = [folder / f"{len(paths)}-{number}" for number in range(len(groups))]
        for path, group in zip(paths, groups):
            add_files(path, list(map(frame_file, group)), "C1", input_partitions, partitions, 100)
        input_partitions = partitions
    sums = [add_partition(map(frame_file, paths), "C1", number, 100) for number in range(partitions)]
    summaries = [summarize(counts, threshold) for counts in sums if counts]
    expected = Counter(value for chunk in chunks for value in plain(chunk))
    assert sum(summary.missing for summary in summaries) == expected.pop(None, 0)
    assert sum(summary.distinct for summary in summaries) == len(expected)
    got = [row for summary in summaries for row in summary.frequent.rows()]
    assert len(got) == len(dict(got))
    assert dict(got) == {value: count for value, count in expected.items() if count > threshold}


def divided(folder, name, column, partitions):
    """Write the counts of a column, divided; return the file."""
    save_counts(folder / f"{name}-run", [column], 100_000)
    add_files(folder / name, [frame_file(folder / f"{name}-run")], column.name, 1, partitions, 100_000)
    return frame_file(folder / name)


def test_the_partitions_divide_the_values_about_evenly(tmp_path):
    file = divided(tmp_path, "a", pl.Series("C1", range(10_000), dtype=pl.UInt32), 4)
    sizes = [add_partition([file], "C1", number, 20_000)[pl.UInt32].height for number in range(4)]
    assert sum(sizes) == 10_000
    assert min(sizes) > 2_300  # of 2,500; the standard deviation is 43


def test_a_value_is_in_the_same_partition_in_each_file(tmp_path):
    files = [divided(tmp_path, name, pl.Series("C1", ["x", "y", "z"]), 3) for name in "ab"]
    for number in range(3):
        one, other = (add_partition([file], "C1", number, 10).get(pl.String) for file in files)
        assert (one is None) == (other is None)
        assert one is None or set(one.rows()) == set(other.rows())


def test_codes_that_are_mostly_different_take_no_counts_and_are_added_to_others_that_have_them(tmp_path):
    different, alike = range(8000), [value % 7 for value in range(8000)]
    for name, values in (("different", different), ("alike", alike)):
        save_counts(tmp_path / name, [pl.Series("C1", values, dtype=pl.UInt32)], 8000)
    files = [frame_file(tmp_path / name) for name in ("different", "alike")]
    assert [file.read(["C1/UInt32/0"])["C1/UInt32/0"].columns for file in files] == [["value"], ["value", "count"]]
    assert dict(add_partition(files, "C1", 0, 8000)[pl.UInt32].rows()) == Counter([*different, *alike])


def test_frames_come_back_by_name_and_unknown_ones_are_left_out(tmp_path):
    frames = {"a": pl.DataFrame({"value": [1, 2]}), "b": pl.DataFrame({"value": ["x"]}), "empty": pl.DataFrame()}
    write_frames(tmp_path / "frames", frames.items())
    found = frame_file(tmp_path / "frames").read(["b", "c", "a"])
    assert list(found) == ["b", "a"]
    assert all(frame.equals(frames[name]) for name, frame in found.items())


def test_a_truncated_file_is_an_error(tmp_path):
    write_frames(tmp_path / "frames", [("a", pl.DataFrame({"value": [1, 2]}))])
    content = (tmp_path / "frames").read_bytes()
    (tmp_path / "frames").write_bytes(content[:-3])
    with pytest.raises((OSError, ValueError)):
        frame_file(tmp_path / "frames")
