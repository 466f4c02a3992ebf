# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from src.preprocessing.cluster.key_ranges import KeyRanges, portions
from src.preprocessing.splits import KeySplits

RATIOS = st.tuples(st.floats(0, 0.6), st.floats(0, 0.6)).filter(lambda ratios: sum(ratios) < 1)
KEYS = st.sets(st.integers(0, 2**64 - 1), max_size=60)


@given(keys=KEYS, ratios=RATIOS, bits=st.integers(0, 6), shard_rows=st.integers(1, 20))
def test_the_shards_have_the_rows_of_their_splits_in_the_order_of_the_keys(keys, ratios, bits, shard_rows):
    splits = KeySplits.from_ratios(5, *ratios)
    ranges = KeyRanges(splits, bits)
    keys = np.array(sorted(keys), np.uint64)
    first_rows = ranges.first_rows(keys)
    shards = list(ranges.shards(np.diff(first_rows.astype(np.int64)), shard_rows))
    expected = []
    for split, part in splits.split(keys).items():
        own = keys[part]
        expected += [(split, own[start : start + shard_rows].tolist()) for start in range(0, len(own), shard_rows)]
    found = []
    for shard in shards:
        rows = keys[first_rows[shard.first_range] : first_rows[shard.end_range]]
        found.append((shard.split, rows[shard.skip : shard.skip + shard.count].tolist()))
    assert found == expected
    numbers = [shard.number for shard in shards if shard.split == "train"]
    assert numbers == list(range(len(numbers)))


@given(ratios=RATIOS, bits=st.integers(0, 6))
def test_a_range_is_of_one_split_and_of_at_most_the_size_of_all(ratios, bits):
    splits = KeySplits.from_ratios(5, *ratios)
    starts = KeyRanges(splits, bits).starts.tolist()
    assert starts[0] == 0
    assert {splits.valid_start, splits.test_start} <= {*starts, 2**64}
    ends = [*starts[1:], 2**64]
    assert all(0 < end - start <= 2 ** (64 - bits) for start, end in zip(starts, ends))


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=30), most_rows=st.integers(0, 20))
def test_portions_cover_all_ranges_and_have_at_most_the_rows_or_one_range(counts, most_rows):
    found = list(portions(np.array(counts), most_rows))
    assert [number for part in found for number in range(part.start, part.stop)] == list(range(len(counts)))
    assert all(sum(counts[part]) <= most_rows or part.stop - part.start == 1 for part in found)
    # None could take the next range, too.
    for part, following in itertools.pairwise(found):
        assert sum(counts[part.start : following.start + 1]) > most_rows
