# SPDX-License-Identifier: Apache-2.0
"""Checkpoints without a training."""

import numpy as np
from mindspore import Tensor

from src.checkpoint import Checkpoint, ModelFolder, find_checkpoint
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.export.probe_rows import save_probe_rows
from src.package.raw_encoding import RawEncoding


def save_random_checkpoint(folder, data: DatasetMeta, seed=1, *, has_statistics=False) -> Checkpoint:
    """Write the files of a training to a folder, with random weights that make the probabilities of rows differ."""
    sizes = data.vocabulary_size, len(data.sparse_fields), len(data.dense_fields), 4, (16, 8)
    config = DeepFMConfig(*sizes, list_lengths=tuple(data.list_lengths.values()), has_statistics=has_statistics)
    network = DeepFM(config)
    random = np.random.default_rng(seed)
    for parameter in network.get_parameters():
        parameter.set_data(Tensor(random.normal(0, 0.3, parameter.shape).astype(np.float32)))
    ModelFolder.create(folder, config, DataIdentity.of_dataset(data)).save(network, 1, 2, {}, {})
    save_probe_rows(folder, data)
    RawEncoding.of_dataset(data).save(folder)
    return find_checkpoint(folder)
