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
from src.evaluation.field_sample import RowSampler
from src.evaluation.metrics import Metrics, compute_metrics, weighted_sum
from src.evaluation.recalibration import Recalibration
from src.evaluation.slices import FieldSlices


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The predictions for all rows of a split, and how good they are.

    labels, probabilities, weights: float32 [n]; weights is None if rows have none, else the metrics are weighted.
    seconds: of predicting the rows and computing the metrics.  by_field: by the name of a sparse field the frame of
    FieldSlices.metrics.  before: the metrics before the recalibration; None if there was none.
    """

    split: str
    labels: np.ndarray
    probabilities: np.ndarray
    metrics: Metrics
    seconds: float
    by_field: dict[str, pl.DataFrame] = dataclasses.field(default_factory=dict)
    before: Metrics | None = None
    weights: np.ndarray | None = None

    @property
    def weight(self) -> float | None:
        """The sum of the weights; None if rows have none."""
        return None if self.weights is None else weighted_sum(self.weights)

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
    sampler: RowSampler | None = None,
    recalibration: Recalibration | None = None,
) -> Evaluation:
    """Return the Evaluation of a split, whose rows are read once.

    slices: the fields by which the rows are evaluated too.  sampler: gets the rows, too.  recalibration: applied to
    the probabilities.  For the other arguments see predict.
    """
    start = time.monotonic()

    def add_batch(inputs: list[np.ndarray], labels: np.ndarray, *weights: np.ndarray) -> None:
        if slices is not None:
            slices.add(inputs[0], labels, *weights)
        if sampler is not None:
            sampler.add(inputs, labels, *weights)

    labels, probabilities, weights = predict(
        predictor, dataset, ranks, split, between_batches=between_batches, add_batch=add_batch
    )
    before = None
    if recalibration is not None:
        before = compute_metrics(labels, probabilities, weights)
        probabilities = recalibration.apply(probabilities)
    metrics = compute_metrics(labels, probabilities, weights)
    seconds = time.monotonic() - start
    by_field = slices.metrics(probabilities, weights) if slices else {}
    return Evaluation(split, labels, probabilities, metrics, seconds, by_field, before, weights)


def predict(
    predictor: DeepFMPredict,
    dataset: Dataset,
    ranks: ProcessGroup,
    split: str,
    *,
    between_batches: Callable[[], None] | None = None,
    add_batch: Callable[..., None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels, click probabilities and weights of all rows of `dataset`, float32 [n]; None if it has no weights.

    dataset: of create_dataset.  ranks: divide the rows; all of them get the result for all rows.
    split: its name, for messages.  between_batches: called after each batch; an exception of it ends the work.
    add_batch: called with the inputs of each batch, [sparse_ids] or [sparse_ids, dense_values], which are int32 [B, I]
    and float32 [B, N], with the labels float32 [B, 1] and, if there are any, the weights float32 [B, 1].
    """
    was_training = predictor.network.training
    predictor.set_train(False)
    progress = Progress(split, dataset.get_dataset_size(), "batches", leave=False, disable=not ranks.is_first)
    rows = Columns(ranks)
    config = predictor.network.config
    input_count, list_width = 2 if config.dense_field_count else 1, sum(config.list_lengths)
    try:
        for batch, tensors in enumerate(dataset.create_tuple_iterator(num_epochs=1), 1):
            columns = [tensor.asnumpy() for tensor in tensors]
            inputs, (labels, *weights) = columns[:input_count], columns[input_count:]
            source = f"{split} split, batch {batch}"
            check_rows(*inputs, vocabulary_size=config.vocabulary_size, source=source, list_width=list_width)
            rows.add(labels, predictor(*tensors[:input_count]).asnumpy(), *weights)
            if add_batch is not None:
                add_batch(inputs, labels, *weights)
            progress.advance(1)
            if between_batches is not None:
                between_batches()
    finally:
        progress.close()
        predictor.network.set_train(was_training)
    labels, probabilities, *weights = rows.gather()
    return labels, probabilities, weights[0] if weights else None
