# SPDX-License-Identifier: Apache-2.0
"""Dropout whose mask is a function of (seed, step, layer, row, unit).

nn.Dropout keeps its random state inside the kernel: on a CPU it differs from run to run, and no checkpoint can hold it.
Here the same seed gives the same run, and a run resumes exactly.
"""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.auto_generate import DropoutExt

FIRST_FACTOR, SECOND_FACTOR, STEP_FACTOR = 0x7FEB352D, 0x846CA68B, 0x9E3779B9
SHIFT = 15
SEED_LIMIT = 2**62
SEED_STRIDE = 0x4F1BBCDD  # odd, and less than 2^31, so that no seed of a step (int32) overflows an int64


def create_dropout(target: str, width: int, keep_prob: float, seed: int, layer: int) -> nn.Cell:
    """Return the dropout cell of a device: "CPU", "GPU" or "Ascend".

    It maps hidden float32 [B, width] and step int32 [1] to hidden with a fraction 1 - keep_prob of the units set to 0
    and the others divided by keep_prob.  Outside training it returns its input.  layer: its index in the network.
    """
    kind = GeneratedDropout if target == "Ascend" else HashedDropout
    return kind(width, keep_prob, seed, layer)


def create_step_counter(target: str) -> ops.Primitive:
    """Return the operator that adds to the step: where the dropout of that device needs its value."""
    return _on_the_host(ops.AssignAdd()) if target == "Ascend" else ops.AssignAdd()


class HashedDropout(nn.Cell):
    """The mask of an element is a hash of its indices, in int32 arithmetic that wraps around.

    Rows and units are hashed separately and combined by exclusive or; the rounds and factors are those of lowbias32
    (Wellons, "Prospecting for Hash Functions", 2018), without the steps that only mix bits too low for the comparison.
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


class GeneratedDropout(nn.Cell):
    """The mask comes from Ascend's generator without state, aclnnDropoutGenMaskV2 (910A, A2, A3).

    There a RightShift runs on the few cores of the AICPU, and int32 products are not promised to wrap around.

    Every mask has a seed of its own: a random number for each (seed, layer), plus a stride for each step.  The offset
    stays 0.  As the key of Philox (A2, A3: the seed is the key, the offset the high half of the counter) two seeds give
    two independent streams, whereas a step in the counter's low half would give shifted copies of one mask; and the
    AICPU kernel of 910A ignores the offset.  The operator takes the seed from the host, so the host computes it.
    """

    def __init__(self, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__()
        self.first_seed = Tensor(np.random.default_rng([seed, layer]).integers(0, SEED_LIMIT, 1))  # int64 [1]
        self.stride = Tensor([SEED_STRIDE], ms.int64)
        self.offset = Tensor([0], ms.int64)
        self.drop_prob = 1.0 - keep_prob
        self.cast = _on_the_host(ops.Cast())
        self.multiply = _on_the_host(ops.Mul())
        self.add = _on_the_host(ops.Add())
        self.dropout = DropoutExt()  # its gradient applies the same mask

    def construct(self, hidden: Tensor, step: Tensor | int) -> Tensor:
        if not self.training:
            return hidden
        return self.dropout(hidden, self.drop_prob, self.seed_of(step), self.offset)[0]

    def seed_of(self, step: Tensor) -> Tensor:
        """Return the seed of the mask of a step, int64 [1]."""
        return self.add(self.multiply(self.cast(step, ms.int64), self.stride), self.first_seed)


def _on_the_host(operator):
    """Return `operator` so that it runs on the CPU of a host with accelerators."""
    return operator.set_device("CPU")


def _as_int32(number):
    return Tensor(np.array([number], np.uint32).view(np.int32))
