# SPDX-License-Identifier: Apache-2.0
"""A check of a device's dropout masks, before training relies on them."""

import math
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from src.common.errors import UserError
from src.network.dropout import create_dropout

ROWS, UNITS = 1024, 256
KEEP_PROB = 0.8
DEVIATIONS = 5  # of the normal distribution; chance passes them once in 1.7 million times
ANY_SHIFT_DEVIATIONS = 7  # and these, in any of 2^18 shifts, once in 1.5 million times
SCALE_TOLERANCE = 1e-3  # a vector unit may approximate a quotient; a wrong scale is farther off


def check_masks(target: str) -> None:
    """Raise UserError unless the dropout of this device drops as it should; see find_fault."""
    if fault := find_fault(target):
        raise UserError(
            f"--device_target={target}: dropout is wrong on this device: {fault}; train without it"
            f" (--keep_prob=1 --embedding_keep_prob=1), and see python -m src.self_test --device_target={target}"
        )


def find_fault(target: str, seed: int = 0, create: Callable[..., nn.Cell] = create_dropout) -> str | None:
    """Return what is wrong with the dropout of this device, None if nothing is.

    It must keep the right fraction of the units, scale these and set the others to 0, repeat the mask of a (seed, step,
    layer), and draw unrelated masks for others.  create: what makes the dropout cell.
    """
    dropout = create(target, UNITS, KEEP_PROB, seed, 0).set_train()
    outputs = _outputs(dropout, 1)
    return (
        _fault_of_values(outputs)
        or _fault_of_repetition(outputs, _outputs(dropout, 1))
        or _fault_of_pair("step", outputs, _outputs(dropout, 2))
        or _fault_of_pair("layer", outputs, _outputs(create(target, UNITS, KEEP_PROB, seed, 1).set_train(), 1))
        or _fault_of_pair("seed", outputs, _outputs(create(target, UNITS, KEEP_PROB, seed + 1, 0).set_train(), 1))
    )


def _outputs(dropout, step):
    """Return the dropout of ones, [ROWS, UNITS]."""
    return dropout(Tensor(np.ones((ROWS, UNITS), np.float32)), Tensor([step], ms.int32)).asnumpy()


def _fault_of_values(outputs):
    kept = outputs[outputs != 0]
    fraction = kept.size / outputs.size
    if abs(fraction - KEEP_PROB) > DEVIATIONS * math.sqrt(KEEP_PROB * (1 - KEEP_PROB) / outputs.size):
        return f"it keeps {fraction:.4f} of the units instead of {KEEP_PROB}"
    if not np.allclose(kept, 1 / KEEP_PROB, rtol=SCALE_TOLERANCE, atol=0):
        return f"it multiplies units that it keeps by {kept.min():.4f} to {kept.max():.4f} instead of {1 / KEEP_PROB}"
    return None


def _fault_of_repetition(outputs, repeated):
    return None if np.array_equal(outputs, repeated) else "the same seed and step give two masks"


def _fault_of_pair(difference, outputs, others):
    """Return what is wrong with the masks of two steps, layers or seeds, which must agree as often as by chance."""
    kept, others_kept = outputs != 0, others != 0
    expected = KEEP_PROB**2 + (1 - KEEP_PROB) ** 2
    agreement = (kept == others_kept).mean()
    if abs(agreement - expected) > DEVIATIONS * math.sqrt(expected * (1 - expected) / kept.size):
        return f"the masks of two {difference}s agree in {agreement:.4f} of the units instead of {expected:.4f}"
    if np.abs(_correlations(kept, others_kept)).max() > ANY_SHIFT_DEVIATIONS / math.sqrt(kept.size):
        return f"the mask of one {difference} is a shifted copy of another's"
    return None


def _correlations(kept, others_kept):
    """Return the correlation of a mask with another, shifted by every number of elements, by the Fourier transform."""
    spectra = [np.fft.rfft((mask - mask.mean()).ravel() / mask.std()) for mask in (kept, others_kept)]
    return np.fft.irfft(spectra[0] * spectra[1].conj()) / kept.size
