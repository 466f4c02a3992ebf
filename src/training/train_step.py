# SPDX-License-Identifier: Apache-2.0
"""One training step: loss, gradients, Adam, EMA weights; and the initial bias."""

import math

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, amp, nn, ops

from src.checkpoint import UNSAVED_PREFIX
from src.common.mindspore_log import muted
from src.dataset_meta import PADDING_LABEL
from src.deepfm import EMA_PREFIX, DeepFM
from src.training.large_batch import CowClip, LargeBatch
from src.training.optimizer import Adam
from src.training.precision import FLOAT32, Precision
from src.training.value_statistics import ValueStatistics

EMA_START = 10  # until --ema_decay takes hold, the average is of about the last tenth of the steps


class LossNetwork(nn.Cell):
    """From a batch (sparse_ids, dense_values, labels, weights) to its loss.

    loss = mean log loss of the rows that are not padding + l2_coef / 2 * sum of squares of the embeddings
           + l2_linear_factor * l2_coef / 2 * sum of squares of the weights of the fields

    mean_weight: of the training set; each row counts as its weight divided by this.  None if batches have no weights.
    negative_keep_rate: fraction of the rows without a click that the training set has.  The odds of a click in it are
    those of all rows divided by this, so the network, which is to predict for all rows, is compared with the labels at
    a logit that is higher by the logarithm.  Source: King & Zeng, "Logistic Regression in Rare Events Data", 2001.
    statistics: of the values of sparse fields, for a network that has them; batches then have a last column, the folds
    of their rows, int32 [B, 1].
    l2_on: "tables", or "batch": of the tables of sparse fields only the rows of the batch's ids count, each as often as
    its id occurs, divided by the number of rows of the batch.

    A rank that owns a part of the tables counts its squares as often as there are parts, as only the mean over all
    ranks is reported; their gradient counts once.

    With several ranks each has the mean over its own rows, and no operation is needed to agree on their number.  The
    mean of the losses of all ranks, and that of their gradients, are those of one process with all the rows unless a
    batch has padding, which is in one step of an epoch at most: there the real rows of that batch count more.
    """

    def __init__(
        self,
        network: DeepFM,
        l2_coef: float,
        l2_on: str = "tables",
        mean_weight: float | None = None,
        negative_keep_rate: float = 1.0,
        statistics: ValueStatistics | None = None,
        l2_linear_factor: float = 1.0,
    ):
        super().__init__(auto_prefix=False)
        self.network = network
        self.has_weights = mean_weight is not None
        self.weight_scale = 1 / mean_weight if mean_weight else 1.0
        self.logit_offset = -math.log(negative_keep_rate)
        self.half_l2_coefs = (l2_linear_factor * l2_coef / 2, l2_coef / 2)  # of weights, and of embeddings
        self.has_l2, self.is_l2_on_batch = l2_coef > 0, l2_on == "batch"
        self.sparse_tables, self.dense_tables = network.sparse_tables(), network.dense_tables()
        self.part_count = network.part.count
        self.has_statistics = statistics is not None
        if statistics is not None:
            network.statistics.set_data(Tensor(statistics.of_all))
            of_others = Tensor(statistics.of_others.reshape(-1, 2))  # [folds * V, 2]
            name = f"{UNSAVED_PREFIX}statistics_of_others"
            self.statistics_of_others = Parameter(of_others, name=name, requires_grad=False)
        self.log_loss = ops.BCEWithLogitsLoss(reduction="sum")

    def construct(self, *batch: Tensor) -> Tensor:
        table_terms = self._table_terms()  # first: after dropout has counted the step, tables would be copied
        statistics = self._statistics(batch[0], batch[-1]) if self.has_statistics else None
        columns = batch[:-1] if self.has_statistics else batch
        inputs = columns[:-2] if self.has_weights else columns[:-1]
        labels = columns[len(inputs)]  # [B, 1]
        rows = self.network.rows_of(inputs[0])
        dense_values = inputs[1] if len(inputs) > 1 else None
        logits = self.network.score(*rows, dense_values, statistics)  # [B, 1]
        if self.logit_offset:
            logits = logits + self.logit_offset
        real = ops.cast(ops.not_equal(labels, PADDING_LABEL), logits.dtype)
        counted = real * columns[-1] * self.weight_scale if self.has_weights else real
        total = self.log_loss(logits, labels, counted, ops.ones_like(real))
        row_count = ops.maximum(real.sum(), 1.0)
        loss = total / row_count
        for term in table_terms:
            loss = loss + term
        if self.has_l2 and self.is_l2_on_batch:
            for half_coef, values in zip(self.half_l2_coefs, rows):
                squares = _sum_of_squares(values, 1)  # [B]
                loss = loss + half_coef * (squares * real.reshape(-1)).sum() / row_count
        return loss

    def _statistics(self, sparse_ids, folds):
        first_rows = folds * self.network.config.vocabulary_size
        return self.network.statistics_of(self.statistics_of_others, sparse_ids, first_rows)

    def _table_terms(self):
        """Return the terms of the loss that are squares of complete tables."""
        terms = []
        if self.has_l2 and not self.is_l2_on_batch:
            for half_coef, table in zip(self.half_l2_coefs, self.sparse_tables):
                terms.append(half_coef * _sum_of_squares(table, count=self.part_count))
        if self.has_l2:
            for half_coef, table in zip(self.half_l2_coefs, self.dense_tables):
                terms.append(half_coef * _sum_of_squares(table))
        return terms


def _sum_of_squares(values, axis=None, count=1):
    """Return `count` times the sum of the squares, with the gradient of one such sum: one product of `values`.

    The gradient of ops.Square is a power, which takes longer, and that of values * values two products.
    """
    constant = ops.stop_gradient(values)
    squares = (values * constant).sum(axis=-1).sum(axis=axis)  # by its gradient half of the sum
    return 2 * squares - (2 - count) * ops.stop_gradient(squares)


class TrainStep(nn.TrainOneStepCell):
    """From a batch to its loss, updating the network of `loss_network` with its optimizer.

    clip_norm: the largest norm of all gradients together, to which larger ones are scaled down; 0 for no limit.
    cowclip: limits the gradient of each row of the embedding table before that; None for no such limit.
    ema_decay: the weights of `ema_network`, a network like that of loss_network, follow its weights as an exponential
    moving average, faster in the first steps, which are far off.  0 for none: then `ema_network` is that network.
    precision: if it checks for overflow, the gradients of a step are 0 unless all of them are finite: Adam's moments
    decay, and the weights still move by them.  It counts as a step, so the steps of all ranks and of the learning rate
    stay the same; and there is no branch, for which the host would have to wait for the device in every step.

    The gradients of the tables of which this rank owns a part are complete as they are; the others are reduced.
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        optimizer: nn.Optimizer,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        precision: Precision = FLOAT32,
        cowclip: CowClip | None = None,
    ):
        super().__init__(loss_network, optimizer, sens=precision.loss_scale)
        self.clip_norm = clip_norm
        self.cowclip = cowclip
        self.clipped_table = loss_network.network.embedding
        self.is_clipped = tuple(weight is self.clipped_table for weight in self.weights)
        self.ema_decay = ema_decay
        self.ema_network = loss_network.network
        if ema_decay > 0:
            self.ema_network, ema_weights = _make_ema_network(loss_network.network)
            self.ema_weights = ParameterTuple(ema_weights)
        self.inverse_scale = 1 / precision.loss_scale
        self.checks_overflow = precision.checks_overflow
        if precision.checks_overflow:
            name = f"{UNSAVED_PREFIX}overflow_count"
            self.overflow_count = Parameter(Tensor([0], ms.int32), name=name, requires_grad=False)
        self.for_each = ops.HyperMap()
        self.part = loss_network.network.part
        self.is_part = tuple(weight.layerwise_parallel for weight in self.weights)
        self.part_count = self.part.count
        if self.part_count > 1:
            self.sum_over_ranks = ops.AllReduce()

    def construct(self, *batch: Tensor) -> Tensor:
        loss = self.network(*batch)
        sensitivity = ops.fill(loss.dtype, loss.shape, self.sens)
        gradients = self.grad(self.network, self.weights)(*batch, sensitivity)
        gradients = self.grad_reducer(gradients)
        if self.inverse_scale != 1:
            gradients = self.for_each(ops.partial(_times, self.inverse_scale), gradients)
        if self.checks_overflow:
            is_finite = self._all_finite(gradients)
            gradients = self.for_each(ops.partial(_or_zero, is_finite), gradients)
            loss = ops.depend(loss, ops.assign_add(self.overflow_count, 1 - ops.cast(is_finite, ms.int32)))
        if self.cowclip is not None:
            gradients = self._clip_table(gradients, batch[0])
        return ops.depend(loss, self._update(gradients))

    def overflows(self) -> int:
        """Return in how many of the steps so far the gradients were not finite; it waits for the device."""
        return self.overflow_count.asnumpy().item() if self.checks_overflow else 0

    def _all_finite(self, gradients):
        """Tell whether all gradients are finite, which all ranks find alike.

        The reduction has spread what is not finite to all of them; only the gradients of parts are not reduced.
        """
        is_finite = amp.all_finite(gradients)
        if self.part_count > 1:
            rank_count = self.sum_over_ranks(ops.cast(is_finite, ms.float32).reshape(1))
            is_finite = (rank_count == self.part_count).reshape(())
        return is_finite

    def _clip_table(self, gradients, sparse_ids):
        """Return the gradients with that of the embedding table clipped by its rows; see CowClip."""
        clipped = ()
        for is_clipped, gradient in zip(self.is_clipped, gradients):
            clipped += (self.cowclip(self.clipped_table, gradient, sparse_ids) if is_clipped else gradient,)
        return clipped

    def _clip(self, gradients):
        """Return the gradients scaled down to the norm clip_norm of all of them together, those of all parts too."""
        squares = self.for_each(_sum_squares, gradients)  # [1] each
        if self.part_count > 1:
            squares = self.for_each(ops.partial(_sum_if_part, self.sum_over_ranks), self.is_part, squares)
        norm = ops.maximum(ops.sqrt(ops.addn(squares)), self.clip_norm)
        return self.for_each(ops.partial(_scale, self.clip_norm, norm), gradients)

    def _update(self, gradients):
        if self.clip_norm > 0:
            gradients = self._clip(gradients)
        updated = self.optimizer(gradients)
        if self.ema_decay > 0:
            step = ops.cast(self.optimizer.global_step, ms.float32)  # [1], from 1
            fraction = 1 - ops.minimum(self.ema_decay, step / (step + EMA_START))
            updated = self.for_each(ops.partial(_move_towards, fraction), self.ema_weights, self.weights)
        return updated


def _make_ema_network(network):
    """Return a DeepFM with the weights of another, under names of their own, and the list of its weights."""
    ema_network = DeepFM(network.config, dense_dtype=network.dense_dtype, target=network.target, part=network.part)
    ema_weights = ema_network.trainable_params()
    for weight, ema_weight in zip(network.trainable_params(), ema_weights):
        ema_weight.set_data(weight.value().copy())
        ema_weight.requires_grad = False
    ema_network.update_parameters_name(EMA_PREFIX)
    if network.config.has_statistics:
        ema_network.statistics = network.statistics
    return ema_network, ema_weights


def _move_towards(fraction, ema_weight, weight):
    return ops.assign_add(ema_weight, fraction * (weight - ema_weight))


def _sum_squares(gradient):
    return ops.square(gradient).sum().reshape(1)


def _sum_if_part(sum_over_ranks, is_part, squares):
    return sum_over_ranks(squares) if is_part else squares


def _scale(clip_norm, norm, gradient):
    return gradient * clip_norm / norm


def _times(factor, gradient):
    return gradient * factor


def _or_zero(is_finite, gradient):
    return ops.where(is_finite, gradient, 0.0)


def build_train_step(
    network: DeepFM,
    learning_rate: float,
    epsilon: float,
    l2_coef: float,
    l2_on: str = "tables",
    clip_norm: float = 0.0,
    ema_decay: float = 0.0,
    *,
    mean_weight: float | None = None,
    negative_keep_rate: float = 1.0,
    precision: Precision = FLOAT32,
    block_size: int = 1,
    rank_count: int = 1,
    large_batch: LargeBatch = LargeBatch(),  # noqa: B008 (it is frozen)
    statistics: ValueStatistics | None = None,
    l2_linear_factor: float = 1.0,
) -> TrainStep:
    """Return a cell that takes a batch, updates `network` with Adam and returns the loss; see TrainStep.

    In a job of several ranks each passes batches of its own, and all update their networks by the mean gradients.
    l2_linear_factor, mean_weight, negative_keep_rate, statistics: of the training set; see LossNetwork.
    block_size: the number of steps that the host starts together.  rank_count: of the job.
    """
    loss_network = LossNetwork(network, l2_coef, l2_on, mean_weight, negative_keep_rate, statistics, l2_linear_factor)
    with muted("FusedSparseAdam"):  # nn.Adam makes it, warns of it, and does not use it for dense gradients
        parameters = loss_network.trainable_params()
        optimizer = Adam(parameters, learning_rate, epsilon, block_size, large_batch.table_factor)
    cowclip = None
    if large_batch.cowclip_ratio:
        limits = (large_batch.cowclip_ratio, large_batch.cowclip_bound)
        cowclip = CowClip(*limits, network.embedding.shape, rank_count)
    return TrainStep(loss_network, optimizer, clip_norm, ema_decay, precision, cowclip).set_train()


def init_bias_to_base_rate(network: DeepFM, base_rate: float, negative_keep_rate: float = 1.0) -> None:
    """Set the bias of `network` so that, all else being 0, it predicts the click rate.

    base_rate: of the training set, of whose rows without a click the fraction negative_keep_rate was kept.
    """
    logit = math.log(base_rate / (1 - base_rate)) + math.log(negative_keep_rate)
    network.bias.set_data(Tensor([logit], ms.float32))
