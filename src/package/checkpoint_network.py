# SPDX-License-Identifier: Apache-2.0
"""The network of a checkpoint, and the encoding of raw rows that its training has left with it."""

import pathlib

import numpy as np
from mindspore import Tensor

from src.checkpoint import find_checkpoint
from src.common.errors import UserError
from src.deepfm import DeepFMPredict
from src.evaluation.recalibration import Recalibration
from src.package.raw_encoding import RAW_ROWS_NAME, RawEncoding
from src.package.runtime import Network


def load_checkpoint(path: pathlib.Path) -> tuple[RawEncoding, Network]:
    """Return the encoding and the network of a .ckpt file, or of the best checkpoint of a folder."""
    checkpoint = find_checkpoint(path, "--model_path")
    encoding = RawEncoding.load(checkpoint.folder.path, checkpoint.folder.data_identity)
    if encoding is None:
        raise UserError(
            f"{checkpoint.folder.path} holds no {RAW_ROWS_NAME}, as it is of an older training; export it with "
            "--file_format=PACKAGE and --dataset_path, and use the package"
        )
    return encoding, as_network(DeepFMPredict(checkpoint.load_network()), None)


def as_network(predictor: DeepFMPredict, recalibration: Recalibration | None) -> Network:
    """Return a predictor, followed by a recalibration, as a function of numpy arrays."""
    has_dense_fields = predictor.network.has_dense_fields

    def predict(sparse_ids: np.ndarray, dense_values: np.ndarray) -> np.ndarray:
        inputs = [sparse_ids, dense_values] if has_dense_fields else [sparse_ids]
        probabilities = predictor(*map(Tensor, inputs)).asnumpy().ravel()
        return recalibration.apply(probabilities) if recalibration else probabilities

    return predict
