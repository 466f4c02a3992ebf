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

With value statistics the M = 2 S statistics of the sparse fields, constants of each id, are inputs of the first order
and of the MLP, each with weights of its own: first_order + z @ v, and the first layer of the MLP + z @ W for z [B, M].

Shapes: B rows, S sparse fields, N dense fields, F = N + S, D embedding size, V vocabulary size, H first hidden size;
I columns of ids, which are S if no field is multi-valued.
"""

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from src.network.config import DeepFMConfig
from src.network.mlp import MLP
from src.network.pooling import Pooling
from src.network.sums import PORTABLE, FieldSums
from src.network.tables import EMBEDDING_DEVIATION, WHOLE, Part, create_look_up, create_table

EMA_PREFIX = "average."  # of the names of EMA weights, where a checkpoint has them next to the last ones


class DeepFM(nn.Cell):
    """Maps sparse_ids int32 [B, I], and dense_values float32 [B, N] if N > 0, to logits float32 [B, 1].

    dense_dtype: float32, float16 or bfloat16, in which the dense layers multiply; everything else is float32.
    target: the device, "CPU", "GPU" or "Ascend", which decides how sums are computed and how dropout draws its masks;
    PORTABLE for operators that all devices and runtimes have.
    part: of the tables of the sparse fields, that which this rank owns.
    """

    def __init__(
        self,
        config: DeepFMConfig,
        dropout_seed: int = 0,
        dense_dtype: ms.Type = ms.float32,
        target: str = PORTABLE,
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
        if config.has_statistics:
            self.statistics = Parameter(
                initializer("zeros", [config.vocabulary_size, 2]), name="statistics", requires_grad=False
            )
            self.statistic_weight = Parameter(initializer("zeros", [config.statistic_count, 1]), "statistic_weight")
            self.gather = ops.Gather()
            self.reshape = ops.Reshape()
        self.matmul = ops.MatMul()
        self.mul = ops.Mul()
        self.half, self.minus_half = Tensor(0.5, ms.float32), Tensor(-0.5, ms.float32)  # old runtimes need tensors
        self.sum = ops.ReduceSum()
        self.sum_keeping_dims = ops.ReduceSum(keep_dims=True)
        self.sum_fields = FieldSums(target)
        self.is_folded = False

    def construct(self, sparse_ids: Tensor, dense_values: Tensor | None = None) -> Tensor:
        statistics = self.statistics_of(self.statistics, sparse_ids) if self.config.has_statistics else None
        return self.score(*self.rows_of(sparse_ids), dense_values, statistics)

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

    def statistics_of(self, table: Parameter, sparse_ids: Tensor, first_rows: Tensor | None = None) -> Tensor:
        """Return the statistics of each field, float32 [B, M].

        table: float32 [.., 2].  first_rows: int32 [B, 1], the row of the table that has those of id 0; None for 0.
        """
        ids, fractions = self.pool.fractions(sparse_ids) if self.has_lists else (sparse_ids, None)
        statistics = self.gather(table, ids if first_rows is None else ids + first_rows, 0)  # [B, I, 2]
        if self.has_lists:
            statistics = self.pool(statistics, fractions)  # [B, S, 2]
        return self.reshape(statistics, (-1, self.config.statistic_count))

    def score(
        self,
        weights: Tensor,
        embeddings: Tensor,
        dense_values: Tensor | None = None,
        statistics: Tensor | None = None,
    ) -> Tensor:
        """Return the logits [B, 1] of the rows of both tables, of dense values if N > 0, and of statistics if M > 0."""
        first_order = self.sum(weights, 1)  # [B, 1]
        if statistics is not None:
            first_order = first_order + self.matmul(statistics, self.statistic_weight)
        sum_of_vectors, sum_of_squares, inputs = self.sum_fields(embeddings)  # [B, D], [B, D], [B, S * D]
        if self.has_dense_fields:
            # The vector of dense field i is value_i * row_i, so sums over the dense fields are products of matrices.
            sum_of_vectors = sum_of_vectors + self.matmul(dense_values, self.dense_embedding)
        if self.is_folded:
            logits = self._folded_orders(first_order, dense_values, sum_of_vectors)
        else:
            logits = self._orders(first_order, dense_values, sum_of_squares, sum_of_vectors)
        if self.has_dense_fields and self.has_mlp:
            logits = logits + self.deep(inputs, dense_values, self.dense_embedding, statistics)
        elif self.has_mlp:
            logits = logits + self.deep(inputs, statistics=statistics)
        return logits

    def _orders(self, first_order, dense_values, sum_of_squares, sum_of_vectors):
        """Return the bias with the first and second order, [B, 1].

        first_order: [B, 1], and sum_of_squares: [B, D], both of the sparse fields.
        """
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
        """Return the tables of weights whose rows are selected by sparse_ids."""
        return [self.linear, self.embedding]

    def dense_tables(self) -> list[Parameter]:
        """Return the tables with one row for each dense field."""
        return [self.dense_linear, self.dense_embedding] if self.has_dense_fields else []


class DeepFMPredict(nn.Cell):
    """Maps the inputs of a DeepFM to click probabilities, float32 [B, 1]."""

    def __init__(self, network: DeepFM):
        super().__init__(auto_prefix=False)
        self.network = network
        self.sigmoid = ops.Sigmoid()
        self.set_train(False)

    def construct(self, *inputs: Tensor) -> Tensor:
        return self.sigmoid(self.network(*inputs))


class DispatchedPredict(DeepFMPredict):
    """DeepFMPredict, faster on two cores: MindSpore's dispatching thread runs it, as it has a condition.

    Where that thread is the only one to dispatch operators, as on two cores, MindSpore runs a graph of up to 100
    operators without a condition in the thread that calls it.  That one polls for the end of each operator, and so
    takes time from the threads that compute: a third more for the default network.  Training has more operators.
    """

    def __init__(self, network: DeepFM):
        super().__init__(network)
        self.always = Parameter(Tensor(True), name="always", requires_grad=False)  # a constant is no condition

    def construct(self, *inputs: Tensor) -> Tensor:
        logits = self.network(*inputs)
        if self.always:
            logits = logits + 0.0
        return self.sigmoid(logits)


def create_predictor(network: DeepFM) -> DeepFMPredict:
    """Return the DeepFMPredict that is the fastest on the device of the network.  An export takes DeepFMPredict."""
    return DispatchedPredict(network) if network.target == "CPU" else DeepFMPredict(network)


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
