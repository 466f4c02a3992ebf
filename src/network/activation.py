# SPDX-License-Identifier: Apache-2.0
"""What follows the product of a hidden layer: its bias, ReLU and dropout, in one cell.

The gradient of both ReLU and dropout is 0 where the output is 0: so the output is all that the step keeps of them.
"""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.auto_generate import ReluGrad

from src.network.dropout import GeneratedDropout, MaskChoice, draw_pool
from src.network.sums import create_row_sum


def create_activations(target: str, widths: Sequence[int], keep_prob: float, seed: int) -> nn.CellList:
    """Return the cells of all hidden layers, of these widths.

    Each maps products float32 [B, width], bias float32 [width] and its draw to activations, which in training are still
    to be multiplied by the cell's `factor`.  target: the device, "CPU", "GPU" or "Ascend", or PORTABLE.  keep_prob,
    seed: as of src.network.dropout.create_dropout; 1 without dropout.
    """
    if keep_prob == 1:
        return nn.CellList([Activation(target) for _ in widths])
    kind = GeneratedActivation if target == "Ascend" else PooledActivation
    return nn.CellList([kind(target, width, keep_prob, seed, layer) for layer, width in enumerate(widths)])


def create_draws(target: str, layer_count: int, keep_prob: float, seed: int) -> nn.Cell:
    """Return the cell that maps step int32 [1] and a number of masks, M, to the draws of all activations, in training.

    A draw is the index of each of the M masks in the layer's pool, int32 [M], or for Ascend's generator the step.
    """
    is_pooled = keep_prob < 1 and target != "Ascend"
    return MaskChoice(seed, range(layer_count)) if is_pooled else Steps(layer_count)


class Steps(nn.Cell):
    """The step, for each layer."""

    def __init__(self, layer_count: int):
        super().__init__()
        self.layer_count = layer_count

    def construct(self, step: Tensor | int, mask_count: int) -> tuple[Tensor | int, ...]:
        return (step,) * self.layer_count


class Activation(nn.Cell):
    """Bias and ReLU."""

    def __init__(self, target: str):
        super().__init__()
        self.factor = 1.0
        self.relu = BiasReLU(target)

    def construct(self, products: Tensor, bias: Tensor, draw: Tensor | int) -> Tensor:
        return self.relu(products, bias)


class GeneratedActivation(Activation):
    """Bias, ReLU and the dropout of Ascend's generator."""

    def __init__(self, target: str, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__(target)
        self.dropout = GeneratedDropout(width, keep_prob, seed, layer)

    def construct(self, products: Tensor, bias: Tensor, draw: Tensor | int) -> Tensor:
        return self.dropout(self.relu(products, bias), draw)


class PooledActivation(Activation):
    """Bias, ReLU and the dropout of a pool of masks."""

    def __init__(self, target: str, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__(target)
        pool = draw_pool(width, keep_prob, seed, layer)
        self.factor = float(pool.max())
        self.masked_relu = MaskedReLU(target, pool > 0)

    def construct(self, products: Tensor, bias: Tensor, draw: Tensor | int) -> Tensor:
        if not self.training:
            return self.relu(products, bias)
        return self.masked_relu(products, bias, draw)


class BiasReLU(nn.Cell):
    """relu(products + bias)"""

    def __init__(self, target: str):
        super().__init__()
        self.bias_add, self.relu, self.relu_grad = ops.BiasAdd(), ops.ReLU(), ReluGrad()
        self.sum_rows = create_row_sum(target)

    def construct(self, products: Tensor, bias: Tensor) -> Tensor:
        return self.relu(self.bias_add(products, bias))

    def bprop(self, products: Tensor, bias: Tensor, result: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the inputs; MindSpore calls this."""
        gradient = self.relu_grad(gradient, result)
        return gradient, self.sum_rows(gradient)


class MaskedReLU(nn.Cell):
    """relu(products + bias), but 0 where a mask drops a unit: there its bias is -infinity.

    is_kept: the P masks of the layer, bool [P, H].  The M masks of a step are is_kept[choice], for choice int32 [M];
    row r has mask r mod M.  So M rows together have one bias, [M * H], and a mask takes neither a pass over the batch
    nor memory.
    """

    def __init__(self, target: str, is_kept: np.ndarray):
        super().__init__()
        self.is_kept = Tensor(is_kept)
        self.bias_add, self.relu, self.relu_grad = ops.BiasAdd(), ops.ReLU(), ReluGrad()
        self.gather, self.cast, self.log, self.reshape = ops.Gather(), ops.Cast(), ops.Log(), ops.Reshape()
        self.sum_rows = create_row_sum(target)

    def construct(self, products: Tensor, bias: Tensor, choice: Tensor) -> Tensor:
        choice = ops.depend(choice, products)  # else the masks of all layers are looked up first, and held
        is_kept = self.cast(self.gather(self.is_kept, choice, 0), ms.float32)
        biases = self.bias_add(self.log(is_kept), bias)  # [M, H]; log is 0 or -infinity
        groups = self.reshape(products, (-1, choice.shape[0] * products.shape[1]))
        return self.relu(self.reshape(self.bias_add(groups, self.reshape(biases, (-1,))), products.shape))

    def bprop(
        self, products: Tensor, bias: Tensor, choice: Tensor, result: Tensor, gradient: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the inputs; MindSpore calls this."""
        gradient = self.relu_grad(gradient, result)
        return gradient, self.sum_rows(gradient), ops.zeros_like(choice)
