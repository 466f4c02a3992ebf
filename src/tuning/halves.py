# SPDX-License-Identifier: Apache-2.0
"""The two halves of the validation set: a search sees one of them, the other one tells what that is worth.

Rows are in random order within a split, so the rows of even and of odd index are two random halves, always the same.
"""

import time

from mindspore.dataset import Dataset

from src.deepfm import DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation, predict
from src.evaluation.metrics import compute_metrics
from src.tuning.predictions import SELECTION, Predictions


class SelectionHalf:
    """Evaluates a network on the selection half of the validation set: a function as callbacks.Validation calls it.

    predictions: those of the last call, for both halves; nothing that a search does depends on the other half.
    """

    def __init__(self, predictor: DeepFMPredict, validation_data: Dataset):
        self._predictor, self._data = predictor, validation_data
        self.predictions: Predictions  # from the first call on

    def __call__(self) -> Evaluation:
        start = time.monotonic()
        self.predictions = Predictions(*predict(self._predictor, self._data, ProcessGroup(), "valid"))
        half = self.predictions.half(SELECTION)
        metrics = compute_metrics(*half.columns)
        seconds = time.monotonic() - start
        return Evaluation("valid", half.labels, half.probabilities, metrics, seconds, weights=half.weights)
