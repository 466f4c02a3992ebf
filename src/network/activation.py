# SPDX-License-Identifier: Apache-2.0
"""What follows the product of a hidden layer: its bias, ReLU and dropout, in one cell.

The gradient of both ReLU and dropout is 0 where the output is 0: so the output is all that the step keeps of them.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.ops.auto_generate import ReluGrad

from src.network.dropout import GeneratedDropout, MaskChoice, draw_pool
from src.network.sums import create_row_sum


def create_activation(target: str, width: int, keep_prob: float, seed: int, layer: int) -> nn.Cell:
    """Return the cell that maps products float32 [B, width], bias float32 [width] and step int32 [1] to activations.

    In training these are still to be multiplied by the cell's `factor`.  target: the device, "CPU", "GPU" or "Ascend".
    keep_prob, seed, layer: as of src.network.dropout.create_dropout; 1 without dropout.
    """
    if keep_prob == 1:
        return Activation(target)
    kind = GeneratedActivation if target == "Ascend" else PooledActivation
    return kind(target, width, keep_prob, seed, layer)


class Activation(nn.Cell):
    """Bias and ReLU."""

    def __init__(self, target: str):
        super().__init__()
        self.factor = 1.0
        self.relu = BiasReLU(target)

    def construct(self, products: Tensor, bias: Tensor, step: Tensor | int) -> Tensor:
        return self.relu(products, bias)


class GeneratedActivation(Activation):
    """Bias, ReLU and the dropout of Ascend's generator."""

    def __init__(self, target: str, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__(target)
        self.dropout = GeneratedDropout(width, keep_prob, seed, layer)

    def construct(self, products: Tensor, bias: Tensor, step: Tensor | int) -> Tensor:
        return self.dropout(self.relu(products, bias), step)


class PooledActivation(Activation):
    """Bias, ReLU and the dropout of a pool of masks."""

    def __init__(self, target: str, width: int, keep_prob: float, seed: int, layer: int):
        super().__init__(target)
        self.masked_relu = MaskedReLU(target)
        self.choose = MaskChoice(seed, layer)
        pool = draw_pool(width, keep_prob, seed, layer)
        self.factor = float(pool.max())
        self.dropped = Tensor(pool == 0)

    def construct(self, products: Tensor, bias: Tensor, step: Tensor | int) -> Tensor:
        if not self.training:
            return self.relu(products, bias)
        return self.masked_relu(products, bias, self.dropped, self.choose(step, products.shape[0]))


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
    """relu(products + bias), but 0 where dropped[choice], for dropped bool [P, H] and choice int32 [B]."""

    def __init__(self, target: str):
        super().__init__()
        self.bias_add, self.relu, self.relu_grad, self.gather = ops.BiasAdd(), ops.ReLU(), ReluGrad(), ops.Gather()
        self.masked_fill, self.zero = ops.MaskedFill(), Tensor(0.0, ms.float32)
        self.sum_rows = create_row_sum(target)

    def construct(self, products: Tensor, bias: Tensor, dropped: Tensor, choice: Tensor) -> Tensor:
        hidden = self.relu(self.bias_add(products, bias))
        choice = ops.depend(choice, hidden)  # else the masks of all layers are looked up first, and held
        return self.masked_fill(hidden, self.gather(dropped, choice, 0), self.zero)

    def bprop(
        self, products: Tensor, bias: Tensor, dropped: Tensor, choice: Tensor, result: Tensor, gradient: Tensor
    ) -> tuple[Tensor, ...]:
        """Return the gradients of the inputs; MindSpore calls this."""
        gradient = self.relu_grad(gradient, result)
        return gradient, self.sum_rows(gradient), ops.zeros_like(dropped), ops.zeros_like(choice)
