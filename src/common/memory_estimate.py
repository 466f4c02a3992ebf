# SPDX-License-Identifier: Apache-2.0
"""Estimates of the memory that training, evaluation and export take: arithmetic on the sizes of the network.

The factors were fitted to the peak resident memory of runs on the CPU with 100,000 to 5,000,000 ids and embeddings of
16 and 80 dimensions; there the estimates are between 0.8 and 1.3 times the measured values.
"""

import dataclasses
import itertools
import math
from typing import Protocol

FLOAT_BYTES = 4
PROCESS_BYTES = int(0.6 * 2**30)  # Python, MindSpore and the readers of the data
# Copies of all parameters at the peak.  Training holds the weights, both moments of Adam, the gradients and, while it
# saves a checkpoint, the weights and moments that it writes; options need further copies.
TRAINING_COPIES, L2_COPIES, CLIPPING_COPIES, EMA_COPIES = 6, 2.5, 4, 5
OVERFLOW_COPIES = 5  # the check of the gradients of float16: those that pass are other arrays
PREDICTION_COPIES = 6.5  # evaluation and export: the weights, and the checkpoint with both moments while it is read
# Copies of the statistics of all values: while they are computed from counts, of each of the five folds in float64; and
# those of the complete training set.
TRAINING_STATISTICS, PREDICTION_STATISTICS = 50, 3
# Values per row of a batch that are held at once, per embedding dimension and per hidden unit.
TRAINING_EMBEDDINGS, TRAINING_UNITS = 5, 8
PREDICTION_EMBEDDINGS, PREDICTION_UNITS = 3, 3


class HasSizes(Protocol):
    """The sizes of a DeepFM that its memory depends on: NetworkSizes, or a DeepFMConfig, which has them, too."""

    @property
    def vocabulary_size(self) -> int: ...
    @property
    def sparse_field_count(self) -> int: ...
    @property
    def dense_field_count(self) -> int: ...
    @property
    def embedding_size(self) -> int: ...
    @property
    def hidden_sizes(self) -> tuple[int, ...]: ...
    @property
    def list_lengths(self) -> tuple[int, ...]: ...
    @property
    def has_statistics(self) -> bool: ...


@dataclasses.dataclass(frozen=True)
class NetworkSizes:
    """The sizes of a network that is not made yet."""

    vocabulary_size: int
    sparse_field_count: int
    dense_field_count: int
    embedding_size: int
    hidden_sizes: tuple[int, ...]
    list_lengths: tuple[int, ...] = ()
    has_statistics: bool = False


def parameter_count(sizes: HasSizes, part_count: int = 1) -> int:
    """Return the number of weights of a network.

    part_count: the number of parts into which the tables are cut, of which one counts.
    """
    inputs = (sizes.sparse_field_count + sizes.dense_field_count) * sizes.embedding_size
    layers = itertools.pairwise([inputs, *sizes.hidden_sizes, 1])
    dense = 1 + sizes.dense_field_count * (sizes.embedding_size + 1)
    statistics = 2 * sizes.sparse_field_count * (1 + sum(sizes.hidden_sizes[:1])) if sizes.has_statistics else 0
    layer_count = sum((wide + 1) * narrow for wide, narrow in layers)
    return _table_size(sizes, part_count) + dense + statistics + layer_count


def table_bytes(sizes: HasSizes, *, is_training: bool, part_count: int = 1) -> int:
    """Return the bytes of a part of the embedding tables; in training with its gradients and both moments of Adam."""
    copies = 4 if is_training else 1
    return copies * FLOAT_BYTES * _table_size(sizes, part_count)


def _table_size(sizes, part_count):
    """Return the number of weights in a part of the tables: of one the rows are divided, of the other the columns."""
    columns = math.ceil(sizes.embedding_size / part_count)
    return math.ceil(sizes.vocabulary_size / part_count) + sizes.vocabulary_size * columns


def training_bytes(
    sizes: HasSizes,
    batch_size: int,
    l2_coef: float,
    clip_norm: float,
    ema_decay: float,
    *,
    checks_overflow: bool = False,
    part_count: int = 1,
) -> int:
    """Return the bytes of a process that trains.

    batch_size: rows per step of the process.  l2_coef, clip_norm, ema_decay, checks_overflow: as in the training; 0 or
    False if off.  part_count: the number of parts into which the tables are cut, of which the process has one.
    """
    options = (
        (l2_coef, L2_COPIES),
        (clip_norm, CLIPPING_COPIES),
        (ema_decay, EMA_COPIES),
        (checks_overflow, OVERFLOW_COPIES),
    )
    copies = TRAINING_COPIES + sum(more for setting, more in options if setting)
    return _statistics_bytes(sizes, TRAINING_STATISTICS) + _process_bytes(
        sizes, part_count, copies, batch_size, TRAINING_EMBEDDINGS, TRAINING_UNITS
    )


def prediction_bytes(sizes: HasSizes, batch_size: int, *, part_count: int = 1) -> int:
    """Return the bytes of a process that loads a checkpoint, or a part of its tables, to evaluate or to export it."""
    return _statistics_bytes(sizes, PREDICTION_STATISTICS) + _process_bytes(
        sizes, part_count, PREDICTION_COPIES, batch_size, PREDICTION_EMBEDDINGS, PREDICTION_UNITS
    )


def _statistics_bytes(sizes, copies):
    return copies * 2 * FLOAT_BYTES * sizes.vocabulary_size if sizes.has_statistics else 0


def _process_bytes(sizes, part_count, copies, batch_size, embeddings, units):
    ids = sizes.sparse_field_count - len(sizes.list_lengths) + sum(sizes.list_lengths)
    row_values = embeddings * ids * sizes.embedding_size + units * sum(sizes.hidden_sizes)
    lasting = copies * parameter_count(sizes, part_count) + batch_size * row_values
    drawn = _table_size(sizes, 1) + _table_size(sizes, part_count) if part_count > 1 else 0  # before anything else
    return PROCESS_BYTES + int(FLOAT_BYTES * max(lasting, drawn))
