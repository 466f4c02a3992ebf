# SPDX-License-Identifier: Apache-2.0
"""Small networks for tests."""

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.deepfm import DeepFM, DeepFMConfig
from tests.list_records import draw_lists


def make_network(
    dense_count,
    sparse_count,
    hidden_sizes,
    keep_prob=1.0,
    deviation=0.5,
    dense_dtype=ms.float32,
    list_lengths=(),
    target="CPU",
    has_statistics=False,
):
    """Return a small network with weights that are large enough to see, and inputs for it.

    With multi-valued fields, of which a row may have no values, no id of the inputs is 0.
    """
    config = DeepFMConfig(
        20,
        sparse_count,
        dense_count,
        4,
        hidden_sizes,
        keep_prob,
        list_lengths=list_lengths,
        has_statistics=has_statistics,
    )
    network = DeepFM(config, dense_dtype=dense_dtype, target=target)
    random = np.random.default_rng(1)
    for parameter in network.trainable_params():
        parameter.set_data(Tensor(random.normal(0, deviation, parameter.shape).astype(np.float32)))
    if has_statistics:
        network.statistics.set_data(Tensor(random.normal(0, 1, (20, 2)).astype(np.float32)))
    single = sparse_count - len(list_lengths)
    ids = random.integers(1 if list_lengths else 0, 20, (8, single)).astype(np.int32)
    if list_lengths:
        lists = draw_lists(random, 8, list_lengths, 19)
        ids = np.hstack([ids, np.where(lists < 0, lists, lists + 1)])
    inputs = [Tensor(ids)]
    if dense_count:
        inputs.append(Tensor(random.normal(0, 1, (8, dense_count)).astype(np.float32)))
    return network, inputs


def weights_of(network):
    """Return the parameters of a network by name, as float64 arrays."""
    return {parameter.name: parameter.asnumpy().astype(np.float64) for parameter in network.get_parameters()}
