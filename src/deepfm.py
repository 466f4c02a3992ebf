# SPDX-License-Identifier: Apache-2.0
"""DeepFM: a factorization machine and an MLP that share the embeddings (Guo et al., IJCAI 2017).

    logit = bias + sum_i w_i + sum_{i<j} <e_i, e_j> + MLP([e_1 .. e_F])

A sparse field contributes the rows of its id in two tables, w_i [1] and e_i [D]; a dense field its own rows times its
value.  With the weights w [B, F] and the vectors e [B, F, D] of a batch the plain forward is

    first_order = w.sum(1)                                        # [B]
    second_order = ((e.sum(1) ** 2) - (e ** 2).sum(1)).sum(1) / 2  # [B], all pairs i < j (Rendle, ICDM 2010)
    hidden = e.reshape(B, F * D)
    deep = mlp(hidden)                                            # [B]
    logits = bias + first_order + second_order + deep             # [B], sigmoid(logits) is the click probability

DeepFM.construct() computes this function without forming the vectors of the dense fields, [B, N, D]: their sums are
products of matrices, and their part of the first layer of the MLP is folded (see MLP).  fold() precomputes more, for
prediction.

A multi-valued field has several ids, in columns of their own; its w_i and e_i are the means over those of a row.

Shapes: B rows, S sparse fields, N dense fields, F = N + S, D embedding size, V vocabulary size, H first hidden size;
I columns of ids, which are S if no field is multi-valued.
"""

import dataclasses
import itertools
import math

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, Uniform, initializer

from src.dropout import create_dropout, create_step_counter
from src.tables import EMBEDDING_DEVIATION, WHOLE, Part, create_look_up, create_table

EMA_PREFIX = "average."  # of the names of EMA weights, where a checkpoint has them next to the last ones


@dataclasses.dataclass(frozen=True)
class DeepFMConfig:
    """The sizes of the network.  Without hidden_sizes it is a factorization machine.

    list_lengths: the columns of sparse_ids of each multi-valued field; those are the last of the sparse fields.
    """

    vocabulary_size: int
    sparse_field_count: int
    dense_field_count: int
    embedding_size: int
    hidden_sizes: tuple
    keep_prob: float = 1.0  # dropout keep probability of the hidden units
    embedding_keep_prob: float = 1.0  # and of the embedding dimensions that enter the MLP
    list_lengths: tuple[int, ...] = ()

    @property
    def id_count(self) -> int:
        """The number I of columns of ids."""
        return self.sparse_field_count - len(self.list_lengths) + sum(self.list_lengths)


class DeepFM(nn.Cell):
    """Maps sparse_ids int32 [B, I], and dense_values float32 [B, N] if N > 0, to logits float32 [B, 1].

    dense_dtype: float32, float16 or bfloat16, in which the dense layers multiply; everything else is float32.
    target: the device, "CPU", "GPU" or "Ascend", which decides how dropout draws its masks.
    part: of the tables of the sparse fields, that which this rank owns.
    """

    def __init__(
        self,
        config: DeepFMConfig,
        dropout_seed: int = 0,
        dense_dtype: ms.Type = ms.float32,
        target: str = "CPU",
        part: Part = WHOLE,
    ):
        super().__init__()
        self.config, self.dense_dtype, self.target, self.part = config, dense_dtype, target, part
        self.has_dense_fields = config.dense_field_count > 0
        self.has_mlp = len(config.hidden_sizes) > 0
        self.bias = Parameter(initializer("zeros", [1]), name="bias")
        self.linear = create_table("linear", (config.vocabulary_size, 1), part)
        self.embedding = create_table("embedding", (config.vocabulary_size, config.embedding_size), part)
        self.look_up = create_look_up(config.vocabulary_size, config.embedding_size, part, target)
        self.has_lists = len(config.list_lengths) > 0
        if self.has_lists:
            self.pool = Pooling(config.sparse_field_count - len(config.list_lengths), config.list_lengths)
        if self.has_dense_fields:
            self.dense_linear = _dense_table("dense_linear", config.dense_field_count, 1)
            self.dense_embedding = _dense_table("dense_embedding", config.dense_field_count, config.embedding_size)
        if self.has_mlp:
            self.deep = MLP(config, dropout_seed, dense_dtype, target)
        self.matmul = ops.MatMul()
        self.mul = ops.Mul()
        self.half, self.minus_half = Tensor(0.5, ms.float32), Tensor(-0.5, ms.float32)  # old runtimes need tensors
        self.sum = ops.ReduceSum()
        self.sum_keeping_dims = ops.ReduceSum(keep_dims=True)
        self.is_folded = False

    def construct(self, sparse_ids: Tensor, dense_values: Tensor | None = None) -> Tensor:
        return self.score(*self.rows_of(sparse_ids), dense_values)

    def rows_of(self, sparse_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of both tables for each field: weights [B, S, 1] and embeddings [B, S, D]."""
        linear = self.folded_linear if self.is_folded else self.linear
        if not self.has_lists:
            return self.look_up(linear, self.embedding, sparse_ids)
        ids, fractions = self.pool.fractions(sparse_ids)
        weights, embeddings = self.look_up(linear, self.embedding, ids)
        if (
            self.is_folded
        ):  # the weights are less half of the squares, but the square of a mean is not that of its parts
            weights = weights + self._half_squares(embeddings)
        weights, embeddings = self.pool(weights, fractions), self.pool(embeddings, fractions)
        if self.is_folded:
            weights = weights - self._half_squares(embeddings)
        return weights, embeddings

    def score(self, weights: Tensor, embeddings: Tensor, dense_values: Tensor | None = None) -> Tensor:
        """Return the logits [B, 1] of the rows of both tables, and of dense values if N > 0."""
        first_order = self.sum(weights, 1)  # [B, 1]
        sum_of_vectors = self.sum(embeddings, 1)  # [B, D]
        if self.has_dense_fields:
            # The vector of dense field i is value_i * row_i, so sums over the dense fields are products of matrices.
            sum_of_vectors = sum_of_vectors + self.matmul(dense_values, self.dense_embedding)
        if self.is_folded:
            logits = self._folded_orders(first_order, dense_values, sum_of_vectors)
        else:
            logits = self._orders(first_order, dense_values, embeddings, sum_of_vectors)
        if self.has_dense_fields and self.has_mlp:
            logits = logits + self.deep(embeddings, dense_values, self.dense_embedding)
        elif self.has_mlp:
            logits = logits + self.deep(embeddings)
        return logits

    def _orders(self, first_order, dense_values, embeddings, sum_of_vectors):
        """Return the bias with the first and second order, [B, 1].  first_order: [B, 1], of the sparse fields."""
        sum_of_squares = self.sum(self._square(embeddings), 1)  # [B, D]
        if self.has_dense_fields:
            first_order = first_order + self.matmul(dense_values, self.dense_linear)
            squares = self.matmul(self._square(dense_values), self._square(self.dense_embedding))
            sum_of_squares = sum_of_squares + squares
        # In this order the gradient is (g * e + g * e) + ..., exactly 2 * g * e, as the gradient of a square was.
        difference = sum_of_squares - self._square(sum_of_vectors)
        second_order = self.mul(self.sum_keeping_dims(difference, 1), self.minus_half)
        return self.bias + first_order + second_order

    def _folded_orders(self, first_order, dense_values, sum_of_vectors):
        """Return the same from folded parameters."""
        if self.has_dense_fields:
            squares = self.matmul(self._square(dense_values), self.dense_squares)
            first_order = first_order + self.matmul(dense_values, self.dense_linear) + squares
        second_order = self.mul(self.sum_keeping_dims(self._square(sum_of_vectors), 1), self.half)
        return self.bias + first_order + second_order

    def _half_squares(self, embeddings):
        """Return |e|^2 / 2 of vectors [.., D], [.., 1]."""
        return self.mul(self.sum_keeping_dims(self._square(embeddings), 2), self.half)

    def _square(self, values):
        return self.mul(values, values)  # the gradient of ops.Square is a power, which takes longer

    def fold(self) -> None:
        """Precompute what depends on parameters alone, to predict with weights that no longer change.

        The squares of the second order, -|e_i|^2 / 2 of each field, become a part of the first order; the projection of
        the dense fields is computed.
        """
        linear, embedding = self.linear.asnumpy(), self.embedding.asnumpy()
        self.folded_linear = _constant("folded_linear", fold_linear(linear, embedding))
        del self.linear
        if self.has_dense_fields:
            self.dense_squares = _constant("dense_squares", -half_squares(self.dense_embedding.asnumpy()))
        if self.has_dense_fields and self.has_mlp:
            self.deep.fold(self.dense_embedding)
        self.is_folded = True

    def sparse_tables(self) -> list[Parameter]:
        """Return the tables whose rows are selected by sparse_ids."""
        return [self.linear, self.embedding]

    def dense_tables(self) -> list[Parameter]:
        """Return the tables with one row for each dense field."""
        return [self.dense_linear, self.dense_embedding] if self.has_dense_fields else []


class Pooling(nn.Cell):
    """Gives each multi-valued field the mean of what its ids have; the other fields come first, with one id each.

    Its operators are ones that runtimes of version 1 of MindIR know.
    """

    def __init__(self, single_count: int, list_lengths: tuple[int, ...]):
        super().__init__()
        self.single_count = single_count
        starts = itertools.accumulate(list_lengths, initial=single_count)
        self.blocks = tuple(zip(starts, list_lengths))  # of columns
        self.presence = Tensor([0, 1], ms.float32)
        self.reciprocals = Tensor([0, *(1 / count for count in range(1, max(list_lengths) + 1))], ms.float32)
        self.minimum = ops.Minimum()
        self.maximum = ops.Maximum()
        self.gather = ops.Gather()
        self.mul = ops.Mul()
        self.reshape = ops.Reshape()
        self.concat = ops.Concat(1)
        self.sum = ops.ReduceSum(keep_dims=True)

    def fractions(self, sparse_ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return ids that are all rows of a table, int32 [B, I], and the fraction of a field's mean that each id is.

        The fractions are [B, L, 1] for each block of columns, 0 for NO_VALUE.
        """
        is_value = self.minimum(sparse_ids + 1, 1)  # 0 or 1, as NO_VALUE is -1
        fractions = []
        for start, length in self.blocks:
            block = is_value[:, start : start + length]
            mean = self.gather(self.reciprocals, self.sum(block, 1), 0)  # [B, 1]
            fractions.append(self.reshape(self.mul(self.gather(self.presence, block, 0), mean), (-1, length, 1)))
        return self.maximum(sparse_ids, 0), fractions

    def construct(self, rows: Tensor, fractions: list[Tensor]) -> Tensor:
        """Return the rows of tables for ids, [B, I, X], as those of fields, [B, S, X]."""
        fields = []
        if self.single_count:
            fields.append(rows[:, : self.single_count])
        for (start, length), fraction in zip(self.blocks, fractions):
            fields.append(self.sum(self.mul(rows[:, start : start + length], fraction), 1))
        return self.concat(fields) if len(fields) > 1 else fields[0]


class MLP(nn.Cell):
    """The deep component: layers over all embeddings, each hidden one with ReLU and dropout, to one output [B, 1].

    Input dropout drops single dimensions of the embeddings of sparse fields, but the complete value of a dense field.

    The dense fields are folded: dense field i contributes value_i * (row_i @ weight_i) to the first layer, where
    row_i @ weight_i, [N, H] for all dense fields, depends on parameters alone.  It is computed once per step, or once
    for all by fold(); then [B, N] is multiplied by [N, H] instead of [B, N * D] by [N * D, H].
    """

    def __init__(self, config: DeepFMConfig, dropout_seed: int, dense_dtype: ms.Type, target: str):
        super().__init__()
        self.sparse_width = config.sparse_field_count * config.embedding_size
        first_size = config.hidden_sizes[0]
        first_inputs = self.sparse_width + config.dense_field_count * config.embedding_size
        self.first = _dense_layer(self.sparse_width, first_size, dense_dtype, first_inputs)
        if config.dense_field_count:
            shape = [config.dense_field_count, config.embedding_size, first_size]
            self.dense_weight = Parameter(initializer(_glorot(first_inputs, first_size), shape), name="dense_weight")
        sizes = [*config.hidden_sizes, 1]
        self.rest = nn.CellList([_dense_layer(*pair, dense_dtype) for pair in itertools.pairwise(sizes)])
        self.relu = nn.ReLU()
        self.has_dropout = config.keep_prob < 1
        self.has_input_dropout = config.embedding_keep_prob < 1
        if self.has_dropout or self.has_input_dropout:
            self.step = Parameter(Tensor([0], ms.int32), name="step", requires_grad=False)  # counted for dropout
            self.count = create_step_counter(target)
        if self.has_dropout:
            self.dropouts = nn.CellList(
                [
                    create_dropout(target, size, config.keep_prob, dropout_seed, layer)
                    for layer, size in enumerate(config.hidden_sizes)
                ]
            )
        if self.has_input_dropout:
            settings = (config.embedding_keep_prob, dropout_seed)
            layer = len(config.hidden_sizes)  # the first index after those of the hidden layers
            self.sparse_dropout = create_dropout(target, self.sparse_width, *settings, layer)
            if config.dense_field_count:
                self.dense_dropout = create_dropout(target, config.dense_field_count, *settings, layer + 1)
        self.is_folded = False
        self.reshape = ops.Reshape()
        self.cast = ops.Cast()
        self.expand_dims = ops.ExpandDims()
        self.matmul = ops.MatMul()
        self.sum = ops.ReduceSum()

    def construct(
        self, embeddings: Tensor, dense_values: Tensor | None = None, dense_embedding: Tensor | None = None
    ) -> Tensor:
        step = self._next_step() if (self.has_dropout or self.has_input_dropout) and self.training else 0
        inputs = self.reshape(embeddings, (-1, self.sparse_width))  # [B, S * D]
        if self.has_input_dropout:
            inputs = self.sparse_dropout(inputs, step)
        hidden = self.cast(self.first(inputs), ms.float32)  # [B, H]
        if dense_values is not None:
            if self.has_input_dropout:
                dense_values = self.dense_dropout(dense_values, step)
            projection = self.projection if self.is_folded else self._project(dense_embedding)
            hidden = hidden + self.matmul(dense_values, projection)
        for layer in range(len(self.rest)):
            hidden = self.relu(hidden)
            if self.has_dropout:
                hidden = self.dropouts[layer](hidden, step)
            hidden = self.cast(self.rest[layer](hidden), ms.float32)
        return hidden  # [B, 1]

    def fold(self, dense_embedding: Parameter) -> None:
        """Replace dense_weight [N, D, H] by the projection of dense_embedding [N, D]."""
        self.projection = Parameter(self._project(dense_embedding), name="projection", requires_grad=False)
        self.is_folded = True
        del self.dense_weight

    def _project(self, dense_embedding):
        return self.sum(self.expand_dims(dense_embedding, 2) * self.dense_weight, 1)  # [N, H]

    def _next_step(self):
        return self.count(self.step, Tensor([1], ms.int32))


class DeepFMPredict(nn.Cell):
    """Maps the inputs of a DeepFM to click probabilities, float32 [B, 1]."""

    def __init__(self, network: DeepFM):
        super().__init__(auto_prefix=False)
        self.network = network
        self.sigmoid = ops.Sigmoid()
        self.set_train(False)

    def construct(self, *inputs: Tensor) -> Tensor:
        return self.sigmoid(self.network(*inputs))


def fold_linear(linear: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    """Return w_i - |e_i|^2 / 2 of each id, float32 [V, 1].  linear: float32 [V, 1].  embedding: float32 [V, D]."""
    return linear - half_squares(embedding)


def half_squares(embedding: np.ndarray) -> np.ndarray:
    """Return |e_i|^2 / 2 of each row, float32 [V, 1].  embedding: float32 [V, D]."""
    return (np.einsum("vd,vd->v", embedding, embedding)[:, None] / 2).astype(np.float32)


def _constant(name, values):
    return Parameter(Tensor(values), name=name, requires_grad=False)


def _dense_table(name, row_count, width):
    return Parameter(initializer(Normal(EMBEDDING_DEVIATION), [row_count, width]), name=name)


def _glorot(inputs, outputs):
    return Uniform(math.sqrt(6 / (inputs + outputs)))


def _dense_layer(inputs, outputs, dtype, fan_in=None):
    """Return a layer whose weights are initialised for `fan_in` inputs, which may be more than its own."""
    layer = nn.Dense(inputs, outputs, weight_init=_glorot(fan_in or inputs, outputs), bias_init="zeros")
    return layer if dtype == ms.float32 else layer.to_float(dtype)
