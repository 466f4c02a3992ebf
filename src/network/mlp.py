# SPDX-License-Identifier: Apache-2.0
"""The deep component: an MLP over the embeddings of all fields.  Letters as in src.deepfm."""

import itertools
import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from src.network.activation import create_draws
from src.network.config import DeepFMConfig
from src.network.dropout import StepCounter, create_dropout, shared_mask_count
from src.network.hidden_layer import Product, create_hidden_layers


class MLP(nn.Cell):
    """Layers over all embeddings, each hidden one with ReLU and dropout, to one output [B, 1].

    Input dropout drops single dimensions of the embeddings of sparse fields.  It spares dense fields, of which it would
    drop the complete value, and statistics.

    The dense fields are folded: dense field i contributes value_i * (row_i @ weight_i) to the first layer, where
    row_i @ weight_i, [N, H] for all dense fields, depends on parameters alone.  It is computed once per step, or once
    for all by fold(); then [B, N] is multiplied by [N, H] instead of [B, N * D] by [N * D, H].
    """

    def __init__(self, config: DeepFMConfig, dropout_seed: int, dense_dtype: ms.Type, target: str):
        super().__init__()
        self.sparse_width = config.sparse_field_count * config.embedding_size
        first_size = config.hidden_sizes[0]
        first_inputs = self.sparse_width + config.dense_field_count * config.embedding_size
        self.first = Dense(self.sparse_width, first_size, first_inputs)
        if config.has_statistics:
            shape = [config.statistic_count, first_size]
            self.statistic_weight = Parameter(initializer(_glorot(first_inputs, first_size), shape), "statistic_weight")
        if config.dense_field_count:
            shape = [config.dense_field_count, config.embedding_size, first_size]
            self.dense_weight = Parameter(initializer(_glorot(first_inputs, first_size), shape), name="dense_weight")
        sizes = [*config.hidden_sizes, 1]
        self.rest = nn.CellList([Dense(*pair) for pair in itertools.pairwise(sizes)])
        self.hidden_layers = create_hidden_layers(target, config, dense_dtype, dropout_seed)
        # Of a CPU, which has no other product in bfloat16, the last one is float32; it has one column.
        is_mixed = target == "CPU" and dense_dtype == ms.bfloat16
        self.last_product = Product(ms.float32 if is_mixed else dense_dtype)
        self.draw = create_draws(target, len(config.hidden_sizes), config.keep_prob, dropout_seed)
        self.has_input_dropout = config.embedding_keep_prob < 1
        self.has_dropout = self.has_input_dropout or config.keep_prob < 1
        if self.has_dropout:
            self.step = Parameter(Tensor([0], ms.int32), name="step", requires_grad=False)  # counted for dropout
            self.count = StepCounter(target)
        if self.has_input_dropout:
            settings = (config.embedding_keep_prob, dropout_seed)
            layer = len(config.hidden_sizes)  # the first index after those of the hidden layers
            self.sparse_dropout = create_dropout(target, self.sparse_width, *settings, layer)
        self.is_folded = False
        self.expand_dims = ops.ExpandDims()
        self.matmul = ops.MatMul()
        self.sum = ops.ReduceSum()
        self.bias_add = ops.BiasAdd()

    def construct(
        self,
        inputs: Tensor,
        dense_values: Tensor | None = None,
        dense_embedding: Tensor | None = None,
        statistics: Tensor | None = None,
    ) -> Tensor:
        """inputs: float32 [B, S * D], the embeddings of the sparse fields.  statistics: float32 [B, M]."""
        projection = self._projection(dense_embedding) if dense_values is not None else None
        # After all uses of dense_embedding, which would be copied otherwise.
        step = self.count(self.step) if self.has_dropout and self.training else 0
        layer_count = len(self.rest)
        draws = self.draw(step, shared_mask_count(inputs.shape[0])) if self.training else (0,) * layer_count
        if self.has_input_dropout:
            inputs = self.sparse_dropout(inputs, step)
        addends: tuple[Tensor, ...] = ()
        if dense_values is not None:
            addends += (self.matmul(dense_values, projection),)
        if statistics is not None:
            addends += (self.matmul(statistics, self.statistic_weight),)
        hidden = self.hidden_layers[0](inputs, self.first.weight, self.first.bias, addends, draws[0])  # [B, H]
        for layer in range(1, layer_count):
            weight, bias = self._scaled(layer - 1)
            hidden = self.hidden_layers[layer](hidden, weight, bias, (), draws[layer])
        weight, bias = self._scaled(layer_count - 1)
        return self.bias_add(self.last_product(hidden, weight), bias)  # [B, 1]

    def _scaled(self, layer):
        """Return the weight for the activations of a hidden layer, with their factor, and the bias that comes next."""
        dense, factor = self.rest[layer], self.hidden_layers[layer].factor
        return dense.weight * factor if self.training and factor != 1 else dense.weight, dense.bias

    def fold(self, dense_embedding: Parameter) -> None:
        """Replace dense_weight [N, D, H] by the projection of dense_embedding [N, D]."""
        self.projection = Parameter(self._project(dense_embedding), name="projection", requires_grad=False)
        self.is_folded = True
        del self.dense_weight

    def _projection(self, dense_embedding):
        return self.projection if self.is_folded else self._project(dense_embedding)

    def _project(self, dense_embedding):
        return self.sum(self.expand_dims(dense_embedding, 2) * self.dense_weight, 1)  # [N, H]


class Dense(nn.Cell):
    """The weight [outputs, inputs] and the bias of a layer.

    fan_in: the number of inputs for which the weights are initialised, if it is more than its own.
    """

    def __init__(self, inputs: int, outputs: int, fan_in: int | None = None):
        super().__init__()
        weights = initializer(_glorot(fan_in or inputs, outputs), [outputs, inputs])
        self.weight = Parameter(weights, name="weight")
        self.bias = Parameter(initializer("zeros", [outputs]), name="bias")


def _glorot(inputs, outputs):
    return Uniform(math.sqrt(6 / (inputs + outputs)))
