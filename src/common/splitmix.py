# SPDX-License-Identifier: Apache-2.0
"""SplitMix64 by index: the 64 bits of a (seed, index) are the same on any machine and in any order.

Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

import numpy as np

GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(seed: int, index: np.ndarray) -> np.ndarray:
    """Return output number `index` (from 0) of the SplitMix64 generator started at `seed`.

    index: uint64 array of any shape.  Returns uint64 of the same shape; one seed never gives the same value twice.
    """
    mixed = (index + np.uint64(1)) * GOLDEN_GAMMA
    mixed += np.uint64(seed)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def to_unit_interval(bits: np.ndarray) -> np.ndarray:
    """Map uint64 `bits` to float64 in [0, 1), by their upper 53 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53
