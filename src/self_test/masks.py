# SPDX-License-Identifier: Apache-2.0
"""The masks of dropout: a function of seed and step, and the right fraction of the units."""

import functools
import hashlib
import math
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.dropout import Dropout
from src.self_test.check import Result, verdict

ROWS, WIDTH, KEEP_PROB, LAYER = 1000, 256, 0.9, 0
SEED, STEP = 1, 7
SIGMAS = 5
DIGEST = "masks_sha256"  # its key in the reference values

Masks = Callable[[int, int], np.ndarray]


def device_masks(target: str) -> Masks:
    """Return a function (seed, step) -> mask, bool [ROWS, WIDTH], True for kept units, that a device computes."""

    @functools.cache
    def dropout(seed: int) -> nn.Cell:
        return _create_dropout(target, seed).set_train(True)

    def masks(seed: int, step: int) -> np.ndarray:
        ones = Tensor(np.ones((ROWS, WIDTH), np.float32))
        return dropout(seed)(ones, Tensor([step], ms.int32)).asnumpy() > 0

    return masks


def _create_dropout(target: str, seed: int) -> nn.Cell:
    return Dropout(WIDTH, KEEP_PROB, seed, LAYER)


def digest(mask: np.ndarray) -> str:
    """Return the SHA-256 of a mask."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def check_masks(masks: Masks, expected_digest: str | None) -> Result:
    """Compare masks of equal and of other seeds and steps; expected_digest: of the hash, None for another generator."""
    mask = masks(SEED, STEP)
    spread = SIGMAS * math.sqrt(KEEP_PROB * (1 - KEEP_PROB) / mask.size)
    faults = [
        *(["the same seed and step give another mask"] if (masks(SEED, STEP) != mask).any() else []),
        *(["another step gives the same mask"] if (masks(SEED, STEP + 1) == mask).all() else []),
        *(["another seed gives the same mask"] if (masks(SEED + 1, STEP) == mask).all() else []),
        *([f"kept fraction off by more than {spread:.4f}"] if abs(mask.mean() - KEEP_PROB) > spread else []),
        *(["not the mask of the CPU"] if expected_digest not in (None, digest(mask)) else []),
    ]
    text = f"keeps {mask.mean():.4f} of the units, {KEEP_PROB} is asked for; {'; '.join(faults) or 'reproducible'}"
    return verdict(not faults, text)
