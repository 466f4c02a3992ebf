# SPDX-License-Identifier: Apache-2.0
"""Ids by code against a dict, for tables of every size and codes that collide."""

import numpy as np
import pytest

from src.preprocessing.code_lookup import MULTIPLIER, CodeLookup

ENDS = np.array([0, 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)


@pytest.mark.parametrize("count", [0, 1, 2, 100, 20_000])
def test_ids_are_those_of_a_dict(count):
    random = np.random.default_rng(count)
    codes = np.unique(random.integers(0, 2**32, count, np.uint32))
    if count > 2:
        codes = np.union1d(codes, ENDS)
    random.shuffle(codes)
    ids = random.integers(0, 2**31, len(codes), np.int32)
    expected = dict(zip(codes.tolist(), ids.tolist()))
    wanted = np.concatenate([codes, random.integers(0, 2**32, 1000, np.uint32), ENDS, codes[:10]])
    found = CodeLookup(codes, ids, 7)(wanted)
    assert found.dtype == np.int32
    assert found.tolist() == [expected.get(code, 7) for code in wanted.tolist()]


def test_codes_that_all_want_the_last_slot_are_found_in_the_next_ones():
    inverse = pow(int(MULTIPLIER), -1, 2**32)
    colliding = np.array([(2**32 - 1 - step) * inverse % 2**32 for step in range(40)], np.uint32)
    assert len(np.unique(colliding * MULTIPLIER >> np.uint32(24))) == 1
    ids = np.arange(30, dtype=np.int32)
    found = CodeLookup(colliding[:30], ids, -1)(colliding)
    assert found.tolist() == [*range(30), *[-1] * 10]


def test_no_codes_have_no_ids():
    assert CodeLookup(ENDS, np.arange(5, dtype=np.int32), 7)(np.empty(0, np.uint32)).tolist() == []
