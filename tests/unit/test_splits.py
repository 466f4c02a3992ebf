# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from src.preprocessing.schema import KEY, LABEL, LINE_NUMBER, TIME
from src.preprocessing.splits import END, KeySplits, SplitBy
from tests import oracles

TRAIN, VALID, TEST = range(3)


def test_splits_by_hand():
    # SplitMix64 from 2020 gives row 0 .. 7 these positions in [0, 1):
    positions = [oracles.splitmix64(2020, row) / 2**64 for row in range(8)]
    splits = KeySplits.from_ratios(2020, valid_ratio=0.25, test_ratio=0.25)
    keys = np.sort(splits.keys(np.arange(8, dtype=np.uint64)))
    parts = splits.split(keys)
    assert len(keys[parts["train"]]) == sum(position < 0.5 for position in positions)
    assert len(keys[parts["valid"]]) == sum(0.5 <= position < 0.75 for position in positions)
    assert len(keys[parts["test"]]) == sum(position >= 0.75 for position in positions)


def test_splits_by_count():
    splits = KeySplits.from_ratios(2020, valid_ratio=0.1, test_ratio=0.1)
    keys = np.sort(splits.keys(np.arange(1_000_000, dtype=np.uint64)))
    counts = {name: len(keys[part]) for name, part in splits.split(keys).items()}
    assert sum(counts.values()) == 1_000_000
    assert abs(counts["valid"] - 100_000) < 1200  # four standard deviations of 300
    assert abs(counts["test"] - 100_000) < 1200


def test_a_ratio_of_zero_leaves_the_split_empty():
    splits = KeySplits.from_ratios(1, valid_ratio=0.0, test_ratio=0.0)
    keys = np.sort(splits.keys(np.arange(1000, dtype=np.uint64)))
    assert [len(keys[part]) for part in splits.split(keys).values()] == [1000, 0, 0]


RATIOS = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda ratios: sum(ratios) < 1)


@given(seed=st.integers(0, 2**64 - 1), ratios=RATIOS, lines=st.sets(st.integers(0, 2**40), max_size=200))
def test_every_line_is_in_the_one_split_in_which_the_reference_has_it(seed, ratios, lines):
    splits = KeySplits.from_ratios(seed, *ratios)
    line_of_key = {oracles.splitmix64(seed, line): line for line in lines}
    keys = np.array(sorted(line_of_key), np.uint64)
    found = {name: [line_of_key[key] for key in keys[part].tolist()] for name, part in splits.split(keys).items()}
    assert sorted(itertools.chain(*found.values())) == sorted(lines)
    # In exact arithmetic: a ratio is a float64, of which 2^64 times is an integer or rounded to one.
    test_start = 2**64 - round(Fraction(ratios[1]) * 2**64)
    valid_start = test_start - round(Fraction(ratios[0]) * 2**64)
    for line in lines:
        key = oracles.splitmix64(seed, line)
        assert line in found["train" if key < valid_start else "valid" if key < test_start else "test"]


@given(lines=st.lists(st.integers(0, 2**40), unique=True, min_size=1, max_size=50), shuffled=st.randoms())
def test_the_keys_and_their_order_do_not_depend_on_the_order_of_the_lines(lines, shuffled):
    splits = KeySplits.from_ratios(2020, 0.1, 0.1)
    other = list(lines)
    shuffled.shuffle(other)
    frames = [
        splits.with_keys(pl.DataFrame({LINE_NUMBER: pl.Series(numbers, dtype=pl.UInt64), "value": numbers}))
        for numbers in (lines, other)
    ]
    assert frames[0].columns == ["value", KEY]
    assert frames[0].equals(frames[1])
    assert frames[0]["value"].to_list() == sorted(lines, key=lambda line: oracles.splitmix64(2020, line))


def test_a_random_split_is_that_of_earlier_versions_to_the_bit():
    # The digest of the keys, in their order, and of the ends of the splits, as they were before other kinds of splits.
    splits = KeySplits.from_ratios(2020, 0.1, 0.1)
    frame = splits.with_keys(frame_of(range(1000)))
    keys = frame[KEY].to_numpy()
    parts = splits.split(keys)
    assert [(part.start, part.stop) for part in parts.values()] == [(0, 804), (804, 914), (914, 1000)]
    assert keys.tolist() == sorted(oracles.splitmix64(2020, line) for line in range(1000))
    assert (splits.valid_start, splits.test_start) == (14757395258967641088, 16602069666338596352)
    assert hashlib.sha256(keys.tobytes()).hexdigest()[:16] == "fcdb8ce1c55b95b1"


def frame_of(lines, times=None, labels=None):
    """Return a frame as parsed chunks are, with the number of each line in `line`, too."""
    columns = {LINE_NUMBER: pl.Series(lines, dtype=pl.UInt64), "line": pl.Series(lines, dtype=pl.UInt64)}
    if times is not None:
        columns[TIME] = pl.Series(times, dtype=pl.Int64)
    if labels is not None:
        columns[LABEL] = pl.Series(labels, dtype=pl.Int8)
    return pl.DataFrame(columns)


def lines_by_split(splits, frame, file_split=TRAIN):
    """Return the lines of each split, in the order of their keys."""
    rows = splits.with_keys(frame, file_split)
    assert set(rows.columns) == set(frame.columns) - {LINE_NUMBER, TIME} | {KEY}
    assert rows[KEY].is_sorted()
    return [rows["line"][part].to_list() for part in splits.split(rows[KEY].to_numpy()).values()]


def in_random_order(lines, seed=2020):
    return sorted(lines, key=lambda line: oracles.splitmix64(seed, line))


RANDOM = KeySplits.from_ratios(2020, 0.1, 0.2)


def test_the_last_rows_are_the_test_split_and_those_before_them_validation():
    # Of 25 rows, 5 are 0.2; 0.1 are 2.5, which rounds to the even 2: rows 0 .. 17, 18 and 19, 20 .. 24.
    splits = RANDOM.by_row(25, 0.1, 0.2)
    assert (splits.by, splits.valid_from, splits.test_from) == (SplitBy.ROW, 18, 20)
    expected = [in_random_order(range(*bounds)) for bounds in ((0, 18), (18, 20), (20, 25))]
    assert lines_by_split(splits, frame_of(range(25))) == expected


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [((0.0, 0.0), [8, 0, 0]), ((0.5, 0.0), [4, 4, 0]), ((0.0, 0.25), [6, 0, 2]), ((0.0, 1.0), [0, 0, 8]),
     ((0.5, 0.5), [0, 4, 4])],
)  # fmt: skip
def test_a_split_by_row_without_some_of_the_splits(ratios, expected):
    splits = KeySplits.from_ratios(1, *ratios).by_row(8, *ratios)
    assert [len(lines) for lines in lines_by_split(splits, frame_of(range(8)))] == expected


def counted(times):
    """Return the frame of times and their counts, in no order."""
    counts = Counter(times)
    return pl.DataFrame({"value": list(counts), "count": list(counts.values())}, {"value": pl.Int64, "count": pl.Int64})


def test_rows_of_one_time_are_in_one_split_at_the_nearest_boundary():
    # 20 rows at the times 30 (9 rows), 10 (4), 20 (3), 50 (3) and 40 (1); before each time are 7, 0, 4, 17 and 16 rows.
    # 0.2 of them, 4, would be the test split: 16 rows before it are those before time 40.  0.3, 6, validation: 10 rows
    # before that are nearest to 7, those before time 30.
    times = [30] * 9 + [10] * 4 + [20] * 3 + [50] * 3 + [40]
    splits = RANDOM.by_time(counted(times), 0.3, 0.2)
    assert (splits.by, splits.valid_from, splits.test_from) == (SplitBy.TIME, 30, 40)
    lines = lines_by_split(splits, frame_of(range(20), times))
    assert [sorted(part) for part in lines] == [list(range(9, 16)), list(range(9)), list(range(16, 20))]


def test_a_boundary_nearer_to_all_rows_than_to_the_last_time_leaves_the_split_empty():
    # All 3 rows are nearer to the 2.7 before the test split, 3 rounded, than the 2 before the last time.
    splits = RANDOM.by_time(counted([1, 2, 3]), 0.0, 0.1)
    assert splits.test_from is None
    assert [len(part) for part in lines_by_split(splits, frame_of(range(3), [1, 2, 3]))] == [3, 0, 0]
    latest = 2**63 - 1
    splits = RANDOM.by_time(counted([latest] * 5), 0.0, 0.2)
    assert [len(part) for part in lines_by_split(splits, frame_of(range(5), [latest] * 5))] == [5, 0, 0]


def test_without_any_time_there_is_a_split_for_the_rows_that_are_not_there():
    splits = RANDOM.by_time(counted([]), 0.1, 0.2)
    assert lines_by_split(splits, frame_of([], [])) == [[], [], []]


SOME_RATIOS = st.tuples(st.floats(0, 0.5), st.floats(0, 1)).filter(lambda ratios: sum(ratios) <= 1)


@given(times=st.lists(st.integers(-3, 3) | st.integers(-(2**63) + 1, 2**63 - 1), min_size=1), ratios=SOME_RATIOS)
def test_a_split_by_time_agrees_with_a_search_of_all_boundaries(times, ratios):
    splits = KeySplits.from_ratios(7, *ratios).by_time(counted(times), *ratios)
    parts = lines_by_split(splits, frame_of(range(len(times)), times))
    assert sorted(itertools.chain(*parts)) == list(range(len(times)))
    of_split = {line: split for split, part in enumerate(parts) for line in part}
    for one, other in itertools.combinations(range(len(times)), 2):
        if times[one] <= times[other]:  # a later row is in the same split or a later one, and one of the same time
            assert of_split[one] <= of_split[other] or times[one] == times[other]
        if times[one] == times[other]:
            assert of_split[one] == of_split[other]
    possible = {sum(time < bound for time in times) for bound in times} | {len(times)}
    for ratio, found, wanted in (
        (ratios[1], len(parts[TRAIN]) + len(parts[VALID]), len(times) - round(ratios[1] * len(times))),
        (ratios[0], len(parts[TRAIN]), len(times) - round(ratios[1] * len(times)) - round(ratios[0] * len(times))),
    ):
        if ratio:
            assert abs(found - wanted) == min(abs(rows - wanted) for rows in possible)


def test_rows_of_files_of_their_own_are_in_the_split_of_their_file():
    splits = KeySplits.from_ratios(2020, 0.0, 0.25).with_files(0.3, 0.0)
    lines = list(range(40))
    assert lines_by_split(splits, frame_of(lines), VALID) == [[], in_random_order(lines), []]
    # The others are split as without such files, by their keys alone.
    expected = [
        [line for line in in_random_order(lines) if (oracles.splitmix64(2020, line) / 2**64 >= 0.75) == is_test]
        for is_test in (False, True)
    ]
    assert lines_by_split(splits, frame_of(lines)) == [expected[0], [], expected[1]]


def test_files_of_their_own_and_a_split_by_row_go_together():
    splits = KeySplits.from_ratios(2020, 0.2, 0.0).with_files(0.0, 0.5).by_row(10, 0.2, 0.0)
    assert lines_by_split(splits, frame_of(range(10))) == [in_random_order(range(8)), in_random_order([8, 9]), []]
    assert lines_by_split(splits, frame_of(range(10, 20)), TEST) == [[], [], in_random_order(range(10, 20))]


FRACTIONS = st.floats(0, 1) | st.sampled_from([1e-300, 2.0**-64, 1e-10, 1 - 2.0**-53])


@given(
    keys=st.sets(st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**64 - 1])),
    ratios=st.tuples(FRACTIONS, FRACTIONS).filter(lambda ratios: sum(ratios) <= 1),
    fractions=st.none() | st.tuples(FRACTIONS, FRACTIONS).filter(lambda fractions: sum(fractions) <= 1),
)
@example(keys={0, 2**64 - 1}, ratios=(0.0, 0.0), fractions=None)
@example(keys={0, 2**64 - 1}, ratios=(0.1, 0.9), fractions=None)
@example(keys={0, 2**64 - 1}, ratios=(0.0, 0.0), fractions=(1.0, 1e-300))
@example(keys={0, 2**64 - 1}, ratios=(0.5, 0.5), fractions=(0.5, 0.5))
def test_mapped_keys_are_in_the_range_of_their_split_and_in_the_same_order(keys, ratios, fractions):
    splits = KeySplits.from_ratios(3, *ratios)
    splits = splits.by_row(100, *ratios) if fractions is None else splits.with_files(*fractions)
    bounds = [0, splits.valid_start, splits.test_start, END]
    assert bounds == sorted(bounds)
    keys = np.array(sorted(keys), np.uint64)
    for split in (TRAIN, VALID, TEST):
        mapped = splits._into_ranges(keys, np.full(len(keys), split, np.int8)).tolist()
        assert mapped == sorted(mapped)
        assert all(bounds[split] <= key < bounds[split + 1] for key in mapped)
        # They fill the range, but for the lower half of its width.
        width = (bounds[split + 1] - bounds[split]) >> 32
        assert mapped == [bounds[split] + (key * width >> 32) for key in keys.tolist()]


@given(ratios=RATIOS, by=st.sampled_from(["key", "row", "time", "files"]), keep_rate=st.floats(0.001, 1))
def test_splits_survive_json(ratios, by, keep_rate):
    splits = KeySplits.from_ratios(2**63 - 1, *ratios, keep_rate)
    others = {
        "key": splits,
        "row": splits.by_row(1000, *ratios),
        "time": splits.by_time(counted([5, -5, 7]), *ratios),
        "files": splits.with_files(0.1, 0.2),
    }
    assert KeySplits.from_dict(json.loads(json.dumps(dataclasses.asdict(others[by])))) == others[by]


LABELS = np.random.default_rng(4).integers(0, 2, 20_000)


def test_only_rows_of_the_training_set_without_a_click_are_left_out():
    frame = frame_of(range(20_000), labels=LABELS)
    every, sampled = KeySplits.from_ratios(2020, 0.1, 0.2), KeySplits.from_ratios(2020, 0.1, 0.2, 0.25)
    before, after = (lines_by_split(splits, frame) for splits in (every, sampled))
    assert after[VALID:] == before[VALID:]
    kept = set(after[TRAIN])
    assert after[TRAIN] == [line for line in before[TRAIN] if line in kept]  # in the same order
    assert {line for line in before[TRAIN] if LABELS[line]} <= kept
    negatives = [line for line in before[TRAIN] if not LABELS[line]]
    rate = sum(line in kept for line in negatives) / len(negatives)
    # Four standard deviations of the fraction of 7,000 rows.
    assert rate == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / len(negatives)) ** 0.5)


@pytest.mark.parametrize("by", ["key", "row", "files"])
def test_the_sample_depends_neither_on_the_chunks_nor_on_the_order_of_the_rows(by):
    splits = KeySplits.from_ratios(2020, 0.1, 0.2, 0.3)
    splits = {"key": splits, "row": splits.by_row(3000, 0.1, 0.2), "files": splits.with_files(0.1, 0.1)}[by]
    frame = frame_of(range(3000), labels=LABELS[:3000])
    expected = splits.with_keys(frame)
    for size in (1, 7, 1000):
        chunks = [splits.with_keys(frame[start : start + size]) for start in range(0, 3000, size)]
        assert pl.concat(chunks).sort(KEY).equals(expected)
    assert splits.with_keys(frame.sample(fraction=1, shuffle=True, seed=1)).equals(expected)


def test_the_sample_of_files_of_their_own_is_complete():
    frame = frame_of(range(1000), labels=[0] * 1000)
    splits = KeySplits.from_ratios(2020, 0.0, 0.0, 0.1).with_files(0.2, 0.2)
    assert [splits.with_keys(frame, split).height for split in (VALID, TEST)] == [1000, 1000]
    assert splits.with_keys(frame).height < 150


def test_the_sample_is_unrelated_to_the_split():
    # The keys of the kept rows are spread evenly over the training split: about as many in each of ten parts.
    frame = frame_of(range(200_000), labels=[0] * 200_000)
    kept = KeySplits.from_ratios(2020, 0.0, 0.0, 0.5).with_keys(frame)[KEY].to_numpy()
    counts = np.histogram(kept.astype(np.float64), bins=10, range=(0, 2.0**64))[0]
    assert abs(counts - 10_000).max() < 4 * 10_000**0.5
    # Nor do other seeds keep the same rows: half of those that one seed keeps.
    both = [set(KeySplits.from_ratios(seed, 0, 0, 0.5).with_keys(frame)["line"]) for seed in (1, 2)]
    assert len(both[0] & both[1]) == pytest.approx(50_000, abs=1000)


def test_a_keep_rate_of_1_keeps_all_rows():
    frame = frame_of(range(500), labels=[0] * 500)
    assert KeySplits.from_ratios(2020, 0.1, 0.1, 1.0) == KeySplits.from_ratios(2020, 0.1, 0.1)
    assert KeySplits.from_ratios(2020, 0.1, 0.1, 1.0).with_keys(frame).height == 500
