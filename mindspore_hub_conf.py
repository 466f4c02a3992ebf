# SPDX-License-Identifier: Apache-2.0
"""What MindSpore Hub asks for: create_network("deepfm")"""

import pathlib

from src.checkpoint import ModelFolder, find_checkpoint
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.export.model_zoo import load_model_zoo

# The model zoo's network for Criteo: its 184,965 ids less those of the dense fields.
CRITEO = {
    "vocabulary_size": 184_952,
    "sparse_field_count": 26,
    "dense_field_count": 13,
    "embedding_size": 80,
    "hidden_sizes": (1024, 512, 256, 128),
}


def create_network(name, *args, **kwargs):
    """Return the network `name`, a cell from sparse_ids int32 [B, S] and dense_values float32 [B, N] to logits [B, 1].

    name: "deepfm"; others raise NotImplementedError.
    ckpt_file: a checkpoint of train.py, or a folder: its best one; or a .ckpt file of the model zoo's DeepFM, for which
    dense_field_count says how many of its fields are dense, 13 unless given.
    dataset_path: with a checkpoint of train.py, the MindRecord folder that the network is to score; data of another
    vocabulary are a UserError, as the network would score their ids without one.
    Without it the other arguments are fields of src.deepfm.DeepFMConfig; those left out are as for Criteo.
    """
    if name != "deepfm":
        raise NotImplementedError(f"{name}: the only network here is deepfm")
    return _create_deepfm(*args, **kwargs)


def _create_deepfm(ckpt_file=None, dataset_path=None, **sizes):
    if ckpt_file is None:
        return DeepFM(DeepFMConfig(**CRITEO | sizes))
    path = pathlib.Path(ckpt_file)
    if path.is_file() and not ModelFolder.exists(path.parent):
        return load_model_zoo(path, **sizes)
    checkpoint = find_checkpoint(path, "ckpt_file")
    if dataset_path is not None:
        checkpoint.check_data(DatasetMeta.load(dataset_path))
    return checkpoint.load_network(**sizes).set_train(False)
