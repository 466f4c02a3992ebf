# SPDX-License-Identifier: Apache-2.0
"""Score a network on a split."""

import dataclasses
import time

import numpy as np

from src.common.encoded_rows import check_rows
from src.common.progress import Progress
from src.evaluation.metrics import drop_padding, score


@dataclasses.dataclass(frozen=True)
class ScoredSplit:
    """Predictions for the rows of the split `name`.

    labels, probabilities: float32 [n].  scores: those of metrics.score, and eval_time in seconds.
    """

    name: str
    labels: np.ndarray
    probabilities: np.ndarray
    scores: dict


def score_split(name, predictor, dataset, ranks, between_batches=None):
    """Return the ScoredSplit of `dataset`; for the arguments see predict."""
    start = time.monotonic()
    labels, probabilities = predict(predictor, dataset, ranks, name, between_batches)
    scores = score(labels, probabilities)
    scores["eval_time"] = time.monotonic() - start
    return ScoredSplit(name, labels, probabilities, scores)


def predict(predictor, dataset, ranks, title, between_batches=None):
    """Return labels and click probabilities of all rows of `dataset`, both float32 [n].

    predictor: a DeepFMPredict.  dataset: of batches that end with the labels.  ranks: a ProcessGroup, each rank with a
    share of the rows; all of them get what all have.  title: of the progress.  between_batches: called after each
    batch; what it raises ends the work.
    """
    was_training = predictor.network.training
    predictor.set_train(False)
    progress = Progress(title, dataset.get_dataset_size(), "batches", leave=False, disable=not ranks.is_first)
    parts = []
    try:
        for batch, (*inputs, labels) in enumerate(dataset.create_tuple_iterator(num_epochs=1), 1):
            check_rows(
                *(column.asnumpy() for column in inputs),
                vocabulary_size=predictor.network.config.vocabulary_size,
                source=f"{title} split, batch {batch}",
            )
            parts.append((labels.asnumpy(), predictor(*inputs).asnumpy()))
            progress.advance(1)
            if between_batches is not None:
                between_batches()
    finally:
        progress.close()
        predictor.network.set_train(was_training)
    return drop_padding(*(ranks.gather(join(column)) for column in zip(*parts)))


def join(arrays):
    """Return the numbers of all arrays, one behind the other, [n]."""
    return np.concatenate([array.ravel() for array in arrays])
