# SPDX-License-Identifier: Apache-2.0
"""Dropout whose mask is a function of (seed, step, layer, row, unit).

nn.Dropout keeps its random state inside the kernel: on a CPU it differs from run to run, and no checkpoint can hold it.
Here the mask of an element is a hash of its indices, so the same seed gives the same run, and a run resumes exactly.
Rows and units are hashed separately and combined by exclusive or; the rounds and factors are those of lowbias32
(Wellons, "Prospecting for Hash Functions", 2018), without the steps that only mix bits too low for the comparison.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

FIRST_FACTOR, SECOND_FACTOR, STEP_FACTOR = 0x7FEB352D, 0x846CA68B, 0x9E3779B9
SHIFT = 15


class Dropout(nn.Cell):
    """Maps hidden float32 [B, H] and step int32 [1] to hidden with a fraction 1 - keep_prob of the units set to 0.

    The others are divided by keep_prob.  Outside training it returns its input.  layer: its index in the network.
    """

    def __init__(self, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__()
        unit_seeds = np.random.default_rng([seed, layer]).integers(-(2**31), 2**31, (1, width))
        self.unit_keys = Tensor(unit_seeds.astype(np.int32))  # [1, H]
        self.limit = Tensor([round((keep_prob - 0.5) * 2**32)], ms.int32)
        self.scale = 1.0 / keep_prob
        self.factors = [_as_int32(factor) for factor in (STEP_FACTOR, FIRST_FACTOR, SECOND_FACTOR)]
        self.shift = Tensor([SHIFT], ms.int32)
        self.xor = ops.BitwiseXor()
        self.right_shift = ops.RightShift()

    def construct(self, hidden: Tensor, step: Tensor | int) -> Tensor:
        if not self.training:
            return hidden
        step_factor, first, second = self.factors
        rows = ops.reshape(ops.arange(hidden.shape[0]).astype(ms.int32), (-1, 1))  # [B, 1]
        row_keys = self._mix((rows + step * step_factor) * first, second)
        bits = self._mix(self.xor(row_keys, self.unit_keys) * first, second)  # [B, H], uniform over int32
        mask = ops.cast(ops.less(bits, self.limit), hidden.dtype)
        return hidden * (ops.stop_gradient(mask) * self.scale)

    def _mix(self, bits, factor):
        return self.xor(bits, self.right_shift(bits, self.shift)) * factor


def _as_int32(number):
    return Tensor(np.array([number], np.uint32).view(np.int32))
