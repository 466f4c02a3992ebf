# SPDX-License-Identifier: Apache-2.0
"""The deep component: an MLP over the embeddings of all fields.  Letters as in src.deepfm."""

import itertools
import math

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from src.network.activation import create_activations, create_draws
from src.network.config import DeepFMConfig
from src.network.dropout import StepCounter, create_dropout, shared_mask_count


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
        self.first = Dense(self.sparse_width, first_size, dense_dtype, first_inputs)
        if config.has_statistics:
            shape = [config.statistic_count, first_size]
            self.statistic_weight = Parameter(initializer(_glorot(first_inputs, first_size), shape), "statistic_weight")
        if config.dense_field_count:
            shape = [config.dense_field_count, config.embedding_size, first_size]
            self.dense_weight = Parameter(initializer(_glorot(first_inputs, first_size), shape), name="dense_weight")
        sizes = [*config.hidden_sizes, 1]
        self.rest = nn.CellList([Dense(*pair, dense_dtype) for pair in itertools.pairwise(sizes)])
        self.activations = create_activations(target, config.hidden_sizes, config.keep_prob, dropout_seed)
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
        if self.has_input_dropout:
            inputs = self.sparse_dropout(inputs, step)
        hidden = self.first(inputs, 1.0)  # [B, H]
        if dense_values is not None:
            hidden = hidden + self.matmul(dense_values, projection)
        if statistics is not None:
            hidden = hidden + self.matmul(statistics, self.statistic_weight)
        bias = self.first.bias
        draws = self.draw(step, shared_mask_count(inputs.shape[0])) if self.training else (0,) * len(self.rest)
        for layer in range(len(self.rest)):
            activation = self.activations[layer]
            factor = activation.factor if self.training else 1.0
            hidden = self.rest[layer](activation(hidden, bias, draws[layer]), factor)
            bias = self.rest[layer].bias
        return self.bias_add(hidden, bias)  # [B, 1]

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
    """Multiplies float32 [B, inputs] by a weight [outputs, inputs], in `dtype`; the bias is added by what comes next.

    fan_in: the number of inputs for which the weights are initialised, if it is more than its own.
    """

    def __init__(self, inputs: int, outputs: int, dtype: ms.Type, fan_in: int | None = None):
        super().__init__()
        self.dtype = dtype
        weights = initializer(_glorot(fan_in or inputs, outputs), [outputs, inputs])
        self.weight = Parameter(weights, name="weight")
        self.bias = Parameter(initializer("zeros", [outputs]), name="bias")
        self.matmul = ops.MatMul(transpose_b=True)
        self.cast = ops.Cast()

    def construct(self, values: Tensor, factor: float) -> Tensor:
        """Return the products float32 [B, outputs] of `factor` times the values."""
        weight = self.weight if factor == 1 else self.weight * factor
        if self.dtype == ms.float32:
            return self.matmul(values, weight)
        return self.cast(self.matmul(self.cast(values, self.dtype), self.cast(weight, self.dtype)), ms.float32)


def _glorot(inputs, outputs):
    return Uniform(math.sqrt(6 / (inputs + outputs)))
