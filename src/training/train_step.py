# SPDX-License-Identifier: Apache-2.0
"""One training step: loss, gradients, Adam, EMA weights; and the initial bias."""

import math

import mindspore as ms
from mindspore import ParameterTuple, Tensor, nn, ops

from src.common.mindspore_log import muted
from src.dataset_meta import PADDING_LABEL
from src.deepfm import EMA_PREFIX, DeepFM
from src.training.optimizer import Adam

EMA_START = 10  # steps; in the first ones the average is nearly the plain mean of all of them
LOSS_SCALE = 1024.0  # that of the model zoo; a mean log loss has gradients far below 65504 / 1024


class LossNetwork(nn.Cell):
    """From a batch (sparse_ids, dense_values, labels) to its loss.

    loss = mean log loss of the rows that are not padding + l2_coef / 2 * sum of squares of the embedding tables

    l2_on: "tables", or "batch": of the tables of sparse fields only the rows of the batch's ids count, each as often as
    its id occurs, divided by the number of rows of the batch.
    rank_count: the number of processes with a batch each; the mean of their losses is the loss of all their rows.
    """

    def __init__(self, network: DeepFM, l2_coef: float, l2_on: str = "tables", rank_count: int = 1):
        super().__init__(auto_prefix=False)
        self.network = network
        self.rank_count = rank_count
        if rank_count > 1:
            self.sum_of_ranks = ops.AllReduce(ops.ReduceOp.SUM)
        self.half_l2_coef = l2_coef / 2
        self.batch_tables = network.sparse_tables() if l2_on == "batch" else []
        self.full_tables = network.dense_tables() if l2_on == "batch" else network.embedding_tables()
        self.gather = ops.Gather()
        self.log_loss = ops.BCEWithLogitsLoss(reduction="sum")

    def construct(self, *batch: Tensor) -> Tensor:
        labels = batch[-1]  # [B, 1]
        logits = self.network(*batch[:-1])  # [B, 1]
        real = ops.cast(ops.not_equal(labels, PADDING_LABEL), logits.dtype)
        total = self.log_loss(logits, labels, real, ops.ones_like(real))
        row_count = ops.maximum(self._mean_of_ranks(real.sum()), 1 / self.rank_count)
        loss = total / row_count
        if self.half_l2_coef > 0:
            for table in self.full_tables:
                loss = loss + self.half_l2_coef * ops.square(table).sum()
            for table in self.batch_tables:
                squares = ops.square(self.gather(table, batch[0], 0)).sum(axis=(1, 2))  # [B]
                loss = loss + self.half_l2_coef * (squares * real.reshape(-1)).sum() / row_count
        return loss

    def _mean_of_ranks(self, row_count):
        if self.rank_count == 1:
            return row_count
        return self.sum_of_ranks(ops.reshape(row_count, (1,)))[0] / self.rank_count


class TrainStep(nn.TrainOneStepCell):
    """From a batch to its loss, updating the network of `loss_network` with its optimizer.

    clip_norm: the largest norm of all gradients together, to which larger ones are scaled down; 0 for no limit.
    loss_scale: the factor that keeps small gradients above 0 while they are float16; other than 1, a step whose
    gradients are not finite changes nothing.
    ema_decay: the weights of `ema_network`, a network like that of loss_network, follow its weights as an exponential
    moving average, faster in the first steps, which are far off.  0 for none: then `ema_network` is that network.
    """

    def __init__(
        self,
        loss_network: LossNetwork,
        optimizer: nn.Optimizer,
        clip_norm: float = 0.0,
        loss_scale: float = 1.0,
        ema_decay: float = 0.0,
    ):
        super().__init__(loss_network, optimizer, sens=loss_scale)
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.ema_network = loss_network.network
        if ema_decay > 0:
            self.ema_network, ema_weights = _make_ema_network(loss_network.network)
            self.ema_weights = ParameterTuple(ema_weights)
        self.inverse_scale = 1 / loss_scale
        self.for_each = ops.HyperMap()

    def construct(self, *batch: Tensor) -> Tensor:
        loss = self.network(*batch)
        sensitivity = ops.fill(loss.dtype, loss.shape, self.sens)
        gradients = self.grad(self.network, self.weights)(*batch, sensitivity)
        gradients = self.grad_reducer(gradients)
        if self.inverse_scale == 1:
            return ops.depend(loss, self._update(gradients))
        gradients = self.for_each(ops.partial(_times, self.inverse_scale), gradients)
        if ops.stack(self.for_each(_is_finite, gradients)).all():
            loss = ops.depend(loss, self._update(gradients))
        return loss

    def _update(self, gradients):
        if self.clip_norm > 0:
            gradients = ops.clip_by_global_norm(gradients, self.clip_norm)
        updated = self.optimizer(gradients)
        if self.ema_decay > 0:
            step = ops.cast(self.optimizer.global_step, ms.float32)  # [1], from 1
            fraction = 1 - ops.minimum(self.ema_decay, step / (step + EMA_START))
            updated = self.for_each(ops.partial(_move_towards, fraction), self.ema_weights, self.weights)
        return updated


def _make_ema_network(network):
    """Return a DeepFM with the weights of another, under names of their own, and the list of its weights."""
    ema_network = DeepFM(network.config, dense_dtype=network.dense_dtype)
    ema_weights = ema_network.trainable_params()
    for weight, ema_weight in zip(network.trainable_params(), ema_weights):
        ema_weight.set_data(weight.value().copy())
        ema_weight.requires_grad = False
    ema_network.update_parameters_name(EMA_PREFIX)
    return ema_network, ema_weights


def _move_towards(fraction, ema_weight, weight):
    return ops.assign_add(ema_weight, fraction * (weight - ema_weight))


def _times(factor, gradient):
    return gradient * factor


def _is_finite(gradient):
    return ops.isfinite(gradient).all()


def build_train_step(
    network: DeepFM,
    learning_rate: float,
    epsilon: float,
    l2_coef: float,
    l2_on: str = "tables",
    clip_norm: float = 0.0,
    ema_decay: float = 0.0,
    rank_count: int = 1,
    block_size: int = 1,
) -> TrainStep:
    """Return a cell that takes a batch, updates `network` with Adam and returns the loss.

    rank_count: the number of processes that train together, each with batches of its own.
    block_size: the number of steps that the host starts together.
    """
    loss_scale = LOSS_SCALE if network.dense_dtype == ms.float16 else 1.0
    loss_network = LossNetwork(network, l2_coef, l2_on, rank_count)
    with muted("FusedSparseAdam"):  # nn.Adam makes it, warns of it, and does not use it for dense gradients
        optimizer = Adam(loss_network.trainable_params(), learning_rate, epsilon, block_size)
    return TrainStep(loss_network, optimizer, clip_norm, loss_scale, ema_decay).set_train()


def init_bias_to_base_rate(network: DeepFM, positives: int, row_count: int) -> None:
    """Set the bias of `network` so that, all else being 0, it predicts the click rate of the training set."""
    network.bias.set_data(Tensor([math.log(positives / (row_count - positives))], ms.float32))
