# SPDX-License-Identifier: Apache-2.0
"""Permutation importance of fields: how much worse the predictions are if a row gets the values of another row.

Source: Breiman, "Random Forests", Machine Learning 2001; Fisher, Rudin & Dominici, "All Models are Wrong, but Many are
Useful", JMLR 2019, where it is the model reliance.

Each field is permuted once.  A second permutation of the same rows would say less than as many other rows do, and with
one the rows and the values that they get vary alike, so the interval over rows holds the chance of the permutation too.
"""

import dataclasses
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from src.distributed.process_group import ProcessGroup
from src.evaluation.columns import Columns
from src.evaluation.field_sample import FieldSample, InputField
from src.evaluation.paired_metrics import Estimate, auc_drop, log_loss_rise
from src.evaluation.recalibration import Recalibration

SEED = 1

# From sparse_ids int32 [B, I] and, if there are any, dense_values float32 [B, N] to probabilities float32 [B].
Predict = Callable[..., np.ndarray]


@dataclasses.dataclass(frozen=True)
class FieldImportance:
    """The importance of a field.

    log_loss_rise: of the permuted field, in nats per row.  auc_drop: likewise; NaNs if there is only one class.
    """

    field: str
    log_loss_rise: Estimate
    auc_drop: Estimate


def permutation_importance(
    predict: Predict,
    sample: FieldSample,
    fields: Sequence[InputField],
    ranks: ProcessGroup,
    recalibration: Recalibration | None = None,
) -> list[FieldImportance]:
    """Return the importance of each field, the most important first.  Collective: all ranks predict as many batches.

    predict: called with batches of sample.batch_rows.  sample: its rows of each rank, which permutes them among
    themselves.  recalibration: applied to the probabilities.
    """
    predictions = predict_permuted(predict, sample, fields)
    if recalibration is not None:
        predictions = recalibration.apply(predictions)
    rows = Columns(ranks)
    rows.add(sample.labels, *predictions, *([] if sample.weights is None else [sample.weights]))
    labels, better, *columns = rows.gather()
    permuted, weights = columns[: len(fields)], columns[len(fields) :]
    importance = [
        FieldImportance(
            field.name, log_loss_rise(labels, better, worse, *weights), auc_drop(labels, better, worse, *weights)
        )
        for field, worse in zip(fields, permuted)
    ]
    return sorted(importance, key=lambda each: -each.log_loss_rise.value)


def predict_permuted(predict: Predict, sample: FieldSample, fields: Sequence[InputField]) -> np.ndarray:
    """Return the probabilities of the rows as they are, and with each field permuted, float32 [1 + fields, n].

    The copies of the rows follow each other without gaps between their batches; the last batch ends with first rows.
    """
    row_count = sample.row_count
    donors = [np.arange(row_count), *(draw_donors(sample, field.name) for field in fields)]
    total = len(donors) * row_count
    probabilities = np.empty(total, np.float32)
    for start in range(0, total, sample.batch_rows):
        copies, rows = np.divmod(np.arange(start, start + sample.batch_rows) % total, row_count)
        inputs = [column[rows] for column in (sample.sparse_ids, sample.dense_values) if column is not None]
        for copy in np.unique(copies[copies > 0]):
            of_copy = np.flatnonzero(copies == copy)
            _replace_field(inputs, of_copy, sample, donors[copy][rows[of_copy]], fields[copy - 1])
        probabilities[start : start + sample.batch_rows] = predict(*inputs)[: total - start]
    return probabilities.reshape(len(donors), row_count)


def draw_donors(sample: FieldSample, field: str) -> np.ndarray:
    """Return for each row the row whose values of the field it gets, int [n]: a function of the rows and the field.

    Without weights it is a permutation of the rows that are not padding.  With weights a row gives its values to as
    many rows as its weight says: they are drawn by systematic sampling, and then permuted.
    """
    donors, real = np.arange(sample.row_count), sample.real_rows
    drawn = np.arange(len(real))
    if sample.weights is not None and len(real):
        until = np.cumsum(sample.weights[real], dtype=np.float64)
        positions = (drawn + 0.5) / len(real) * until[-1]
        drawn = np.searchsorted(until, positions).clip(max=len(real) - 1)
    random = np.random.default_rng([SEED, zlib.crc32(field.encode())])
    donors[real] = real[random.permutation(drawn)]
    return donors


def _replace_field(inputs, rows, sample, donors, field):
    """Give rows of a batch the values that the donors, rows of the sample, have of a field."""
    sparse_ids, *dense_values = inputs
    columns = slice(field.ids.start, field.ids.stop)
    sparse_ids[rows, columns] = sample.sparse_ids[donors, columns]
    if field.dense_index is not None:
        dense_values[0][rows, field.dense_index] = sample.dense_values[donors, field.dense_index]
