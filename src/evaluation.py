# SPDX-License-Identifier: Apache-2.0
"""Score a network on a split, and on the rows of each value of a field."""

import numpy as np
import polars as pl

from src.metrics import calibration, drop_padding, log_loss, roc_auc, score

COMMONEST_VALUES = 20


def evaluate(predictor, dataset, ranks, between_batches=None):
    """Return the scores of src.metrics on all rows of `dataset`, batches that end with the labels.

    predictor: a DeepFMPredict.  ranks: the Ranks, each with a share of the rows; all get the scores of all rows.
    between_batches: called after each batch; what it raises ends the evaluation.
    """
    columns = predict(predictor, dataset, between_batches=between_batches)
    return score(*drop_padding(*map(ranks.gather, columns)))


def predict(predictor, dataset, field=None, between_batches=None):
    """Return labels, -1 for padding, and click probabilities of the rows of `dataset`, both float32 [n].

    field: the place of a sparse field whose ids, int32 [n], are to come as well.
    """
    was_training = predictor.network.training
    predictor.set_train(False)
    parts = []
    try:
        for *inputs, labels in dataset.create_tuple_iterator(num_epochs=1):
            part = [labels.asnumpy(), predictor(*inputs).asnumpy()]
            parts.append(part if field is None else [*part, inputs[0].asnumpy()[:, field]])
            if between_batches is not None:
                between_batches()
    finally:
        predictor.network.set_train(was_training)
    return [np.concatenate([column.ravel() for column in columns]) for columns in zip(*parts)]


def score_by_id(labels, probabilities, ids):
    """Return a frame of the commonest ids: id, rows, click_rate, AUC, log_loss, calibration; all columns [n]."""
    rows = pl.DataFrame({"label": labels, "probability": probabilities, "id": ids})
    commonest = rows["id"].value_counts(sort=True).sort("count", "id", descending=[True, False])
    scores = []
    for id_ in commonest["id"].head(COMMONEST_VALUES):
        own = rows.filter(id=id_)
        columns = own["label"].to_numpy(), own["probability"].to_numpy()
        scores.append(
            {
                "id": id_,
                "rows": own.height,
                "click_rate": float(columns[0].mean()),
                "AUC": roc_auc(*columns),
                "log_loss": log_loss(*columns),
                "calibration": calibration(*columns),
            }
        )
    return pl.DataFrame(scores)


def describe_by_value(field, scores, vocabulary):
    """Return a table of the frame that score_by_id gives; the ids of `field` become the values they stand for."""
    values = dict(zip(vocabulary.table["id"], vocabulary.table["value"]))
    lines = [f"{field:20} {'rows':>12} {'clicks':>8} {'AUC':>8} {'log loss':>9} {'calibration':>12}"]
    for row in scores.iter_rows(named=True):
        value = values.get(row["id"], str(row["id"])) or "(missing)"
        lines.append(
            f"{value:20.20} {row['rows']:12,} {row['click_rate']:8.4f} {row['AUC']:8.4f} {row['log_loss']:9.4f} "
            f"{row['calibration']:12.4f}"
        )
    return "\n".join(lines)
