# SPDX-License-Identifier: Apache-2.0
"""Dropout whose mask is a function of (seed, step, layer, row, unit).

nn.Dropout keeps its random state inside the kernel: on a CPU it differs from run to run, and no checkpoint can hold it.
Here the same seed gives the same run, and a run resumes exactly.
"""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops import constexpr
from mindspore.ops.auto_generate import DropoutExt

FIRST_FACTOR, SECOND_FACTOR, STEP_FACTOR = 0x7FEB352D, 0x846CA68B, 0x9E3779B9
SHIFT = 15
POOL_BITS = 10  # a layer has 2^10 masks
FEWEST_SHARED, MOST_SHARED = 64, 256  # masks of a step: fewer would be too few, more do not fit into a CPU's cache
ROWS_OF_A_MASK = 4  # at least: then a float32 for each unit of a mask is at most a byte for each unit of a row
SEED_LIMIT = 2**62
SEED_STRIDE = 0x4F1BBCDD  # odd, and less than 2^31, so that no seed of a step (int32) overflows an int64


def create_dropout(target: str, width: int, keep_prob: float, seed: int, layer: int) -> nn.Cell:
    """Return the dropout cell of a device: "CPU", "GPU" or "Ascend".

    It maps hidden float32 [B, width] and step int32 [1] to hidden with a fraction 1 - keep_prob of the units set to 0
    and the others divided by keep_prob.  Outside training it returns its input.  layer: its index in the network.
    """
    kind = GeneratedDropout if target == "Ascend" else PooledDropout
    return kind(width, keep_prob, seed, layer)


class StepCounter(nn.Cell):
    """Adds 1 to the step, a Parameter int32 [1], and returns it as int64 [1], where the device's dropout needs it."""

    def __init__(self, target: str):
        super().__init__()
        self.count, self.cast = ops.AssignAdd(), ops.Cast()
        if target == "Ascend":
            self.count, self.cast = _on_the_host(self.count), _on_the_host(self.cast)

    def construct(self, step: Parameter) -> Tensor:
        return self.cast(self.count(step, Tensor([1], ms.int32)), ms.int64)  # the parameter itself would be copied


@constexpr
def shared_mask_count(row_count: int) -> int:
    """Return how many masks the rows of a batch share: a divisor of their number, all of it if no other will do."""
    for count in range(min(MOST_SHARED, row_count // ROWS_OF_A_MASK), FEWEST_SHARED - 1, -1):
        if row_count % count == 0:
            return count
    return row_count


@constexpr
def first_numbers(count: int) -> Tensor:
    """Return 0, 1, ... count - 1, int32 [count], as a constant: compiling ops.arange takes 13 MB."""
    return Tensor(np.arange(count, dtype=np.int32))


class MaskChoice(nn.Cell):
    """Maps step int32 or int64 [1] to the indices of the masks of a step in each layer's pool, int32 [L, mask_count].

    An index is a hash of (seed, layer, step, its number), in int32 arithmetic that wraps around.  Its rounds and
    factors are those of lowbias32 (Wellons, "Prospecting for Hash Functions", 2018).  All layers are hashed at once, as
    starting an operator takes a CPU longer than that many numbers.
    """

    def __init__(self, seed: int, layers: Sequence[int]):
        super().__init__()
        keys = [np.random.default_rng([seed, layer, 1]).integers(2**32, dtype=np.uint32) for layer in layers]
        self.keys = Tensor(np.array(keys, np.uint32).view(np.int32)[:, None])  # [L, 1]
        self.factors = [_as_int32(factor) for factor in (STEP_FACTOR, FIRST_FACTOR, SECOND_FACTOR)]
        self.shift, self.last_shift = Tensor([SHIFT], ms.int32), Tensor([32 - POOL_BITS], ms.int32)
        self.lowest_bits = Tensor([2**POOL_BITS - 1], ms.int32)
        self.xor, self.right_shift, self.bitwise_and = ops.BitwiseXor(), ops.RightShift(), ops.BitwiseAnd()

    def construct(self, step: Tensor, mask_count: int) -> Tensor:
        step_factor, first, second = self.factors
        step = ops.cast(step, ms.int32)
        numbers = first_numbers(mask_count)
        bits = self._mix((numbers + step * step_factor) * first, second)
        bits = self._mix(self.xor(bits, self.keys) * first, second)
        return self.bitwise_and(self.right_shift(bits, self.last_shift), self.lowest_bits)

    def _mix(self, bits, factor):
        return self.xor(bits, self.right_shift(bits, self.shift)) * factor


def draw_pool(width: int, keep_prob: float, seed: int, layer: int) -> np.ndarray:
    """Return the masks of a layer, float32 [2^POOL_BITS, width]: 0, or for units that are kept the factor of a value.

    Each unit is kept by the same number of masks, as near to keep_prob as their number allows, and the factor is the
    reciprocal of that fraction: the mean of the unit's values over all masks is exactly its value outside training.
    """
    count = 2**POOL_BITS
    kept = min(max(round(count * keep_prob), 1), count - 1)
    factors = np.where(np.arange(count) < kept, np.float32(count / kept), np.float32(0))
    return np.random.default_rng([seed, layer]).permuted(np.repeat(factors[:, None], width, 1), axis=0)


class PooledDropout(nn.Cell):
    """Each row of each step takes one of the masks of its layer, which are drawn once: see MaskChoice and draw_pool."""

    def __init__(self, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__()
        self.choose = MaskChoice(seed, [layer])
        self.pool = Tensor(draw_pool(width, keep_prob, seed, layer))
        self.scale_rows = ScaleRows()

    def construct(self, hidden: Tensor, step: Tensor | int) -> Tensor:
        if not self.training:
            return hidden
        return self.scale_rows(hidden, self.pool, self.choose(step, hidden.shape[0])[0])


class ScaleRows(nn.Cell):
    """values * factors[choice], of float32 [B, H], [P, H] and int32 [B].

    The gradient of the values looks the factors up again, so that they are not kept.
    """

    def __init__(self):
        super().__init__()
        self.gather, self.mul = ops.Gather(), ops.Mul()

    def construct(self, values: Tensor, factors: Tensor, choice: Tensor) -> Tensor:
        return self.mul(values, self.gather(factors, choice, 0))

    def bprop(
        self, values: Tensor, factors: Tensor, choice: Tensor, result: Tensor, gradient: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradient of the values, and zeros for what needs none; MindSpore calls this."""
        choice = ops.depend(choice, gradient)  # else MindSpore keeps the factors that it has looked up
        return self.mul(gradient, self.gather(factors, choice, 0)), ops.zeros_like(factors), ops.zeros_like(choice)


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
