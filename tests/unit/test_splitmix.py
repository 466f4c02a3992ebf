# SPDX-License-Identifier: Apache-2.0
import numpy as np

from src.common.splitmix import splitmix64, to_unit_interval
from tests import oracles


def test_known_outputs_of_the_published_generator():
    # The first outputs of the reference implementation started at 1234567.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert splitmix64(1234567, np.arange(5, dtype=np.uint64)).tolist() == known


def test_large_seeds_and_indices_agree_with_python_integers():
    indices = [0, 1, 45_840_616, 2**40, 2**63 + 5]
    for seed in (0, 2020, 2**63 - 1):
        expected = [oracles.splitmix64(seed, index) for index in indices]
        assert splitmix64(seed, np.array(indices, np.uint64)).tolist() == expected


def test_unit_interval_takes_the_upper_bits():
    bits = np.array([0, 2**63, 2**64 - 1], np.uint64)
    assert to_unit_interval(bits).tolist() == [0.0, 0.5, 1 - 2**-53]


def test_values_are_uniform():
    counts = np.bincount((to_unit_interval(splitmix64(7, np.arange(100_000, dtype=np.uint64))) * 10).astype(int))
    assert len(counts) == 10
    assert abs(counts - 10_000).max() < 400  # four standard deviations of 95
