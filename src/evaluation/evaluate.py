# SPDX-License-Identifier: Apache-2.0
"""Evaluate a network on a split."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import sklearn.metrics  # noqa: F401 (here, as otherwise the first evaluation would be timed with the import)
from mindspore.dataset import Dataset

from src.common.encoded_rows import check_rows
from src.common.progress import Progress
from src.deepfm import DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.columns import Columns
from src.evaluation.metrics import Metrics, compute_metrics
from src.evaluation.recalibration import Recalibration
from src.evaluation.slices import FieldSlices


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The predictions for all rows of a split, and how good they are.

    labels, probabilities: float32 [n].  seconds: of predicting the rows and computing the metrics.
    by_field: by the name of a sparse field the frame of FieldSlices.metrics.  before: the metrics before the
    recalibration; None if there was none.
    """

    split: str
    labels: np.ndarray
    probabilities: np.ndarray
    metrics: Metrics
    seconds: float
    by_field: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    before: Metrics | None = None

    def log_text(self) -> str:
        """Return the text of a line of auc.log."""
        auc, log_loss = self.metrics["auc"], self.metrics["log_loss"]
        return f"AUC: {auc:.6f}, log_loss: {log_loss:.6f}, eval_time: {self.seconds:.1f}s"


def evaluate_split(
    split: str,
    predictor: DeepFMPredict,
    dataset: Dataset,
    ranks: ProcessGroup,
    *,
    between_batches: Callable[[], None] | None = None,
    slices: FieldSlices | None = None,
    recalibration: Recalibration | None = None,
) -> Evaluation:
    """Return the Evaluation of a split, whose rows are read once.

    slices: the fields by which the rows are evaluated too.  recalibration: applied to the probabilities.  For the other
    arguments see predict.
    """
    start = time.monotonic()
    add_ids = None if slices is None else slices.add
    labels, probabilities = predict(predictor, dataset, ranks, split, between_batches=between_batches, add_ids=add_ids)
    before = None
    if recalibration is not None:
        before = compute_metrics(labels, probabilities)
        probabilities = recalibration.apply(probabilities)
    metrics = compute_metrics(labels, probabilities)
    seconds = time.monotonic() - start
    by_field = slices.metrics(probabilities) if slices else {}
    return Evaluation(split, labels, probabilities, metrics, seconds, by_field, before)


def predict(
    predictor: DeepFMPredict,
    dataset: Dataset,
    ranks: ProcessGroup,
    split: str,
    *,
    between_batches: Callable[[], None] | None = None,
    add_ids: Callable[[np.ndarray, np.ndarray], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and click probabilities of all rows of `dataset`, both float32 [n].

    dataset: its batches end with the labels.  ranks: divide the rows; all of them get the result for all rows.
    split: its name, for messages.  between_batches: called after each batch; an exception of it ends the work.
    add_ids: called with the sparse_ids int32 [B, S] and the labels float32 [B, 1] of each batch.
    """
    was_training = predictor.network.training
    predictor.set_train(False)
    progress = Progress(split, dataset.get_dataset_size(), "batches", leave=False, disable=not ranks.is_first)
    rows = Columns(ranks)
    try:
        for batch, tensors in enumerate(dataset.create_tuple_iterator(num_epochs=1), 1):
            *inputs, labels = (tensor.asnumpy() for tensor in tensors)
            size, source = predictor.network.config.vocabulary_size, f"{split} split, batch {batch}"
            check_rows(*inputs, vocabulary_size=size, source=source)
            rows.add(labels, predictor(*tensors[:-1]).asnumpy())
            if add_ids is not None:
                add_ids(inputs[0], labels)
            progress.advance(1)
            if between_batches is not None:
                between_batches()
    finally:
        progress.close()
        predictor.network.set_train(was_training)
    labels, probabilities = rows.gather()
    return labels, probabilities
