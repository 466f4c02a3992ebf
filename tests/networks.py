# SPDX-License-Identifier: Apache-2.0
"""Small networks for tests."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.deepfm import DeepFM, DeepFMConfig


def make_network(dense_count, sparse_count, hidden_sizes, keep_prob=1.0, deviation=0.5, dense_dtype=ms.float32):
    """Return a small network with weights that are large enough to see, and inputs for it."""
    config = DeepFMConfig(20, sparse_count, dense_count, 4, hidden_sizes, keep_prob)
    network = DeepFM(config, dense_dtype=dense_dtype)
    random = np.random.default_rng(1)
    for parameter in network.trainable_params():
        parameter.set_data(Tensor(random.normal(0, deviation, parameter.shape).astype(np.float32)))
    inputs = [Tensor(random.integers(0, 20, (8, sparse_count)).astype(np.int32))]
    if dense_count:
        inputs.append(Tensor(random.normal(0, 1, (8, dense_count)).astype(np.float32)))
    return network, inputs
