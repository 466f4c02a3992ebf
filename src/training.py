# SPDX-License-Identifier: Apache-2.0
"""What a training step does: loss, gradients, Adam."""

import contextlib
import logging
import os

from mindspore import nn, ops

from src.metrics import PADDING_LABEL


class LossNetwork(nn.Cell):
    """From a batch (sparse_ids, dense_values, labels) to its loss.

    loss = mean log loss of the rows that are not padding + l2_coef / 2 * sum of squares of the embedding tables
    """

    def __init__(self, network, l2_coef):
        super().__init__(auto_prefix=False)
        self.network = network
        self.half_l2_coef = l2_coef / 2
        self.tables = network.embedding_tables()
        self.log_loss = ops.BCEWithLogitsLoss(reduction="sum")

    def construct(self, *batch):
        labels = batch[-1]  # [B, 1]
        logits = self.network(*batch[:-1])  # [B, 1]
        real = ops.cast(ops.not_equal(labels, PADDING_LABEL), logits.dtype)
        total = self.log_loss(logits, labels, real, ops.ones_like(real))
        loss = total / ops.maximum(real.sum(), 1.0)
        if self.half_l2_coef > 0:
            for table in self.tables:
                loss = loss + self.half_l2_coef * ops.square(table).sum()
        return loss


def build_train_step(network, learning_rate, epsilon, l2_coef):
    """Return a cell that takes a batch, updates `network`, a DeepFM, with Adam and returns the loss."""
    loss_network = LossNetwork(network, l2_coef)
    with _muted("FusedSparseAdam"):  # which nn.Adam makes, warns of, and does not use for dense gradients
        optimizer = nn.Adam(loss_network.trainable_params(), learning_rate=learning_rate, eps=epsilon)
    return nn.TrainOneStepCell(loss_network, optimizer).set_train()


@contextlib.contextmanager
def _muted(word):
    """Keep MindSpore's Python log from showing messages with this word."""
    logger = logging.getLogger(f"ME.mindspore.log.{os.getpid()}")

    def without_word(record):
        return word not in record.getMessage()

    logger.addFilter(without_word)
    try:
        yield
    finally:
        logger.removeFilter(without_word)
