# SPDX-License-Identifier: Apache-2.0
import itertools
from fractions import Fraction

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from src.preprocessing.schema import KEY, LINE_NUMBER
from src.preprocessing.splits import KeySplits
from tests import oracles


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
