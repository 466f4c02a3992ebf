# SPDX-License-Identifier: Apache-2.0
"""The network of a checkpoint, and the encoding of raw rows that its training has left with it."""

import hashlib

import mindspore as ms
from mindspore import Tensor

from src.checkpoint_average import find_model
from src.common.errors import UserError
from src.deepfm import DeepFMPredict, create_predictor
from src.distributed.device import ensure_device
from src.evaluation.recalibration import Recalibration
from src.evaluation.record import EvaluationRecord
from src.package.explanation import Explainer
from src.package.package import MINDIR_BATCH_ROWS
from src.package.raw_encoding import RAW_ROWS_NAME, RawEncoding
from src.package.runtime import FixedBatches, Network


def load_checkpoint(paths: str) -> tuple[RawEncoding, Network, Explainer, str]:
    """Return what a ClickModel takes, of the checkpoint that find_model finds."""
    checkpoint = find_model(paths, "--model_path")
    encoding = RawEncoding.load(checkpoint.folder.path, checkpoint.folder.data_identity)
    if encoding is None:
        raise UserError(
            f"{checkpoint.folder.path} holds no {RAW_ROWS_NAME}, as it is of an older training; export it with "
            "--file_format=PACKAGE and --dataset_path, and use the package"
        )
    recalibration = EvaluationRecord.load(checkpoint.path, checkpoint.identity).recalibration
    network = checkpoint.load_network(target=ensure_device())
    network.fold()
    parameters = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    digest = hashlib.sha256(f"{checkpoint.identity} {recalibration}".encode()).hexdigest()
    explainer = Explainer(parameters, encoding.identity, recalibration)
    return encoding, as_network(create_predictor(network), recalibration), explainer, digest


def as_network(predictor: DeepFMPredict, recalibration: Recalibration | None) -> Network:
    """Return a predictor, followed by a recalibration, as a function of numpy arrays."""

    @ms.jit  # as a graph, whatever the mode of the process
    def predict(*inputs):
        return predictor(*inputs)

    return FixedBatches(lambda *inputs: predict(*map(Tensor, inputs)).asnumpy(), MINDIR_BATCH_ROWS, recalibration)
