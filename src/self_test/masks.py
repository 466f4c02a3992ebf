# SPDX-License-Identifier: Apache-2.0
"""The masks of dropout: what training checks of them, and the mask of a CPU where a device has the same hash."""

import hashlib
import math

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.network.dropout import create_dropout
from src.self_test.check import Result, verdict
from src.training.dropout_check import DEVIATIONS

ROWS, WIDTH, KEEP_PROB, LAYER = 1000, 256, 0.9, 0
SEED, STEP = 1, 7
DIGEST = "masks_sha256"  # its key in the reference values


def device_mask(target: str) -> np.ndarray:
    """Return the mask of SEED and STEP that a device computes, bool [ROWS, WIDTH], True for kept units."""
    dropout = create_dropout(target, WIDTH, KEEP_PROB, SEED, LAYER).set_train(True)
    return dropout(Tensor(np.ones((ROWS, WIDTH), np.float32)), Tensor([STEP], ms.int32)).asnumpy() > 0


def digest(mask: np.ndarray) -> str:
    """Return the SHA-256 of a mask."""
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def check_masks(mask: np.ndarray, fault: str | None, expected_digest: str | None) -> Result:
    """Judge the masks of a device.

    fault: that training has found in them.  expected_digest: of `mask` if it is the hash; None for another generator.
    """
    kept, allowed = mask.mean(), DEVIATIONS * math.sqrt(KEEP_PROB * (1 - KEEP_PROB) / mask.size)
    faults = [
        *([fault] if fault else []),
        *(["a mask keeps another fraction"] if abs(kept - KEEP_PROB) > allowed else []),
        *(["a mask is not that of the CPU"] if expected_digest not in (None, digest(mask)) else []),
    ]
    text = f"keeps {kept:.4f} of the units, expected {KEEP_PROB} within {allowed:.3f}"
    first_row = np.packbits(mask[0]).tobytes().hex()
    return verdict(not faults, "; ".join([text, *faults]), sha256=digest(mask), first_row=first_row)
