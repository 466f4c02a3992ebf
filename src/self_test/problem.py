# SPDX-License-Identifier: Apache-2.0
"""A small network, its weights and its batches: the same numbers on every machine, without MindSpore's generator."""

import zlib

import numpy as np

from src.common.splitmix import splitmix64, to_unit_interval
from src.dataset_meta import PADDING_LABEL
from src.deepfm import DeepFM, DeepFMConfig

SIZES = DeepFMConfig(
    vocabulary_size=48, sparse_field_count=4, dense_field_count=3, embedding_size=8, hidden_sizes=(16, 8)
)
ROWS, PADDING_ROWS, STEPS = 64, 8, 10
LONGEST_SUM = ROWS  # terms of the longest inner product: a weight's gradient sums over the rows
# Epsilon is as large as the gradients, so that a wrong one shows; the default, 5e-8, would not.
LEARNING_RATE, EPSILON, L2_COEF = 0.01, 1e-3, 1e-3


def weights(network: DeepFM) -> dict[str, np.ndarray]:
    """Return float32 weights for a network, by the names of its parameters, in [-0.5, 0.5)."""
    return {each.name: _uniform(each.name, each.shape) - np.float32(0.5) for each in network.trainable_params()}


def batch(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the batch of a step, from 1: sparse_ids int32 [B, S], dense_values float32 [B, N], labels float32 [B, 1].

    The last rows are padding: as many of them for each rank if the ranks divide PADDING_ROWS.
    """
    ids = _uniform(f"ids {step}", (ROWS, SIZES.sparse_field_count)) * SIZES.vocabulary_size
    values = 2 * _uniform(f"values {step}", (ROWS, SIZES.dense_field_count)) - 1
    labels = (_uniform(f"labels {step}", (ROWS, 1)) < 0.25).astype(np.float32)
    labels[-PADDING_ROWS:] = PADDING_LABEL
    return ids.astype(np.int32), values, labels


def _uniform(name, shape):
    """Return float32 numbers in [0, 1), with 20 bits so that they are exact."""
    bits = splitmix64(zlib.crc32(name.encode()), np.arange(np.prod(shape), dtype=np.uint64))
    return (np.floor(to_unit_interval(bits) * 2**20) / 2**20).astype(np.float32).reshape(shape)
