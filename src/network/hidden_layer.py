# SPDX-License-Identifier: Apache-2.0
"""A hidden layer: a product, its bias, ReLU and dropout; on a CPU in bfloat16 in one operator.  Letters as in
src.deepfm; H units.
"""

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.cpu_kernels.build import hidden_layer_library
from src.network.activation import Activation, create_activations
from src.network.config import DeepFMConfig
from src.network.dropout import draw_pool


def create_hidden_layers(target: str, config: DeepFMConfig, dtype: ms.Type, seed: int) -> nn.CellList:
    """Return the cells of all hidden layers, which hold no weights.

    Each maps values [B, K], weight float32 [H, K], bias float32 [H], a tuple of addends float32 [B, H], which the first
    layer may have, and its draw (see src.network.activation) to activations [B, H].  In training these are still to be
    multiplied by the cell's `factor`.
    target: the device, or PORTABLE.  dtype: in which it multiplies.  seed: of dropout.
    """
    if target == "CPU" and dtype == ms.bfloat16:
        return nn.CellList([Bfloat16HiddenLayer(config, layer, seed) for layer in range(len(config.hidden_sizes))])
    activations = create_activations(target, config.hidden_sizes, config.keep_prob, seed)
    return nn.CellList([HiddenLayer(dtype, activation) for activation in activations])


class Product(nn.Cell):
    """Maps values float32 [B, K] and weight float32 [H, K] to float32 [B, H], multiplied in `dtype`."""

    def __init__(self, dtype: ms.Type):
        super().__init__()
        self.dtype = dtype
        self.matmul, self.cast = ops.MatMul(transpose_b=True), ops.Cast()

    def construct(self, values: Tensor, weight: Tensor) -> Tensor:
        if self.dtype == ms.float32:
            return self.matmul(values, weight)
        return self.cast(self.matmul(self.cast(values, self.dtype), self.cast(weight, self.dtype)), ms.float32)


class HiddenLayer(nn.Cell):
    """A hidden layer of MindSpore's operators."""

    def __init__(self, dtype: ms.Type, activation: Activation):
        super().__init__()
        self.product, self.activation, self.factor = Product(dtype), activation, activation.factor

    def construct(
        self, values: Tensor, weight: Tensor, bias: Tensor, addends: tuple[Tensor, ...], draw: Tensor | int
    ) -> Tensor:
        products = self.product(values, weight)
        for addend in addends:
            products = products + addend
        return self.activation(products, bias, draw)


class Bfloat16HiddenLayer(nn.Cell):
    """A hidden layer whose factors, gradients too, are rounded to bfloat16; products are added in float32.

    What passes from one hidden layer to the next is bfloat16.  The masks of dropout are those of PooledActivation.
    """

    def __init__(self, config: DeepFMConfig, layer: int, seed: int):
        super().__init__()
        is_first, is_last = layer == 0, layer == len(config.hidden_sizes) - 1
        self.has_dropout, self.factor, width = config.keep_prob < 1, 1.0, config.hidden_sizes[layer]
        self.all_kept = ops.ones((1, width), ms.bool_)
        if self.has_dropout:
            pool = draw_pool(width, config.keep_prob, seed, layer)
            self.factor, self.is_kept = float(pool.max()), Tensor(pool > 0)
        has_addend = is_first and (config.dense_field_count > 0 or config.has_statistics)
        types = (ms.float32 if is_first else ms.bfloat16, ms.float32 if is_last else ms.bfloat16)
        self.operator = Bfloat16Operator(*types, has_addend)
        self.gather = ops.Gather()

    def construct(
        self, values: Tensor, weight: Tensor, bias: Tensor, addends: tuple[Tensor, ...], draw: Tensor | int
    ) -> Tensor:
        is_kept = self.all_kept
        if self.has_dropout and self.training:
            is_kept = self.gather(self.is_kept, draw, 0)  # [M, H]
        addend = addends[0] if len(addends) > 0 else 0
        for other in addends[1:]:
            addend = addend + other
        return self.operator(values, weight, bias, is_kept, addend)


class Bfloat16Operator(nn.Cell):
    """The operators of src/cpu_kernels/hidden_layer.cc: where is_kept, relu(values weight^T + bias + addend), else 0.

    Row r has the mask is_kept[r mod M], for is_kept bool [M, H].  Without has_addend the addend is 0, a number.
    """

    def __init__(self, value_type: ms.Type, result_type: ms.Type, has_addend: bool):
        super().__init__()
        library = hidden_layer_library()
        self.has_addend = has_addend
        self.forward = ops.Custom(
            f"{library}:HiddenLayer", lambda values, weight, *_: (values[0], weight[0]), lambda *_: result_type, "aot"
        )
        types = (value_type, *[ms.float32] * (3 if has_addend else 2))
        self.gradients = ops.Custom(
            f"{library}:HiddenLayerGrad",
            lambda values, weight, result, gradient: (values, weight, weight[:1], result)[: len(types)],
            lambda *_: types,
            "aot",
        )

    def construct(self, values: Tensor, weight: Tensor, bias: Tensor, is_kept: Tensor, addend: Tensor | int) -> Tensor:
        if self.has_addend:
            return self.forward(values, weight, bias, is_kept, addend)
        return self.forward(values, weight, bias, is_kept)

    def bprop(
        self,
        values: Tensor,
        weight: Tensor,
        bias: Tensor,
        is_kept: Tensor,
        addend: Tensor | int,
        result: Tensor,
        gradient: Tensor,
    ) -> tuple[Tensor | int, ...]:
        """Return the gradients of the inputs; MindSpore calls this."""
        gradients = self.gradients(values, weight, result, gradient)
        return *gradients[:3], ops.zeros_like(is_kept), gradients[3] if self.has_addend else 0
