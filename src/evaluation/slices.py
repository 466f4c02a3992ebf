# SPDX-License-Identifier: Apache-2.0
"""Scores on the rows of each value of a sparse field."""

import math

import numpy as np
import polars as pl

from src.common.progress import Progress
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.evaluation.evaluate import join
from src.evaluation.metrics import calibration, drop_padding, log_loss, roc_auc
from src.preprocessing.vocabulary import Vocabulary

COMMONEST_VALUES = 20
STRONGEST_FIELDS = 6
SAMPLE_ROWS = 200_000


def read_ids(dataset, fields, ranks, row_limit=math.inf):
    """Return labels and the ids of some sparse fields, columns [n], of the rows of `dataset` in the order of predict.

    fields: their places among the ids of a row.  row_limit: of each rank; the batch that reaches it is the last.
    """
    parts, row_count = [], 0
    progress = Progress("fields", dataset.get_dataset_size(), "batches", leave=False, disable=not ranks.is_first)
    for ids, *_, labels in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
        parts.append((labels, *(ids[:, field] for field in fields)))
        row_count += len(labels)
        progress.advance(1)
        if row_count >= row_limit:
            break
    progress.close()
    return drop_padding(*(ranks.gather(join(column)) for column in zip(*parts)))


def strongest_fields(dataset, names, ranks):
    """Return the places of the STRONGEST_FIELDS sparse fields, named `names`, that tell most of a click.

    Judged by the first rows of `dataset`, which in MindRecord of ours are in random order.
    """
    labels, *columns = read_ids(dataset, range(len(names)), ranks, SAMPLE_ROWS)
    information = [information_on_clicks(labels, ids) for ids in columns]
    return sorted(range(len(names)), key=lambda field: -information[field])[:STRONGEST_FIELDS]


def score_values(split, dataset, fields, data: DatasetMeta, ranks):
    """Return for some sparse fields, by name, a frame of the scores on the rows of each of their commonest values.

    split: the ScoredSplit of `dataset`, of the MindRecord folder `data`.  fields: their places among the sparse fields.
    """
    if not fields:
        return {}
    vocabulary = Vocabulary.load(data.path / VOCABULARY_NAME)
    _, *columns = read_ids(dataset, fields, ranks)
    frames = (name_values(score_by_id(split.labels, split.probabilities, ids), vocabulary) for ids in columns)
    return dict(zip((data.sparse_fields[field] for field in fields), frames))


def information_on_clicks(labels, ids):
    """Return the mutual information, in nats, between a click and the id of a field; ids, int32 [n], of that field.

    Ids that are not among the COMMONEST_VALUES count as one, so that rare ones do not look as if they knew.
    """
    rows = pl.DataFrame({"label": labels, "id": ids})
    counts = rows.group_by("id").agg(rows=pl.len(), clicks=pl.col("label").sum())
    counts = counts.sort("rows", "id", descending=[True, False]).to_numpy()[:, 1:].astype(np.float64)
    groups = np.vstack([counts[:COMMONEST_VALUES], counts[COMMONEST_VALUES:].sum(axis=0)])
    joint = np.column_stack([groups[:, 1], groups[:, 0] - groups[:, 1]]) / len(labels)  # [groups, clicked or not]
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / independent[there])))


def score_by_id(labels, probabilities, ids):
    """Return a frame of the commonest ids: id, rows, click_rate, mean_prediction, AUC, log_loss, calibration.

    All arguments are columns [n].
    """
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
                "mean_prediction": float(columns[1].mean(dtype=np.float64)),
                "AUC": roc_auc(*columns),
                "log_loss": log_loss(*columns),
                "calibration": calibration(*columns),
            }
        )
    return pl.DataFrame(scores)


def name_values(scores, vocabulary):
    """Return the frame that score_by_id gives with a column `value`: what each id stands for."""
    values = dict(zip(vocabulary.table["id"], vocabulary.table["value"]))
    names = [values.get(id_, str(id_)) or "(missing)" for id_ in scores["id"]]
    return scores.with_columns(value=pl.Series(names, dtype=pl.String))


def describe_by_value(field, scores):
    """Return a table of the frame that name_values gives."""
    lines = [f"{field:20} {'rows':>12} {'clicks':>8} {'AUC':>8} {'log loss':>9} {'calibration':>12}"]
    for row in scores.iter_rows(named=True):
        lines.append(
            f"{row['value']:20.20} {row['rows']:12,} {row['click_rate']:8.4f} {row['AUC']:8.4f} {row['log_loss']:9.4f} "
            f"{row['calibration']:12.4f}"
        )
    return "\n".join(lines)
