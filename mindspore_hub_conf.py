# SPDX-License-Identifier: Apache-2.0
"""Entry point of MindSpore Hub: create_network("deepfm") returns the network, with weights if a checkpoint is named."""

import dataclasses
import os
import pathlib
from typing import Any

from src.checkpoint import ModelFolder, find_checkpoint
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.export.model_zoo import load_model_zoo

# The sizes of the model zoo's network for Criteo: its 184,965 ids without those of the dense fields.
CRITEO = DeepFMConfig(
    vocabulary_size=184_952,
    sparse_field_count=26,
    dense_field_count=13,
    embedding_size=80,
    hidden_sizes=(1024, 512, 256, 128),
)


def create_network(name: str, *args: Any, **kwargs: Any) -> DeepFM:
    """Return the network `name`, a cell from sparse_ids int32 [B, S] and dense_values float32 [B, N] to logits [B, 1].

    name: "deepfm"; any other name raises NotImplementedError.
    ckpt_file: a checkpoint of train.py, or a folder of checkpoints for its best one; or a .ckpt file of the model zoo's
    DeepFM, of whose fields dense_field_count are dense (13 by default).
    dataset_path: with a checkpoint of train.py, the MindRecord folder that the network is to be evaluated on.  Data of
    another vocabulary raise UserError, as their ids have other meanings.
    Without ckpt_file, the other arguments are fields of src.deepfm.DeepFMConfig, by default those of CRITEO.
    """
    if name != "deepfm":
        raise NotImplementedError(f"{name}: the only network here is deepfm")
    return _create_deepfm(*args, **kwargs)


def _create_deepfm(
    ckpt_file: str | os.PathLike | None = None, dataset_path: str | os.PathLike | None = None, **sizes
) -> DeepFM:
    if ckpt_file is None:
        return DeepFM(dataclasses.replace(CRITEO, **sizes))
    path = pathlib.Path(ckpt_file)
    if path.is_file() and not ModelFolder.exists(path.parent):
        return load_model_zoo(path, **sizes)
    checkpoint = find_checkpoint(path, "ckpt_file")
    if dataset_path is not None:
        checkpoint.check_data(DatasetMeta.load(dataset_path))
    return checkpoint.load_network(**sizes).set_train(False)
