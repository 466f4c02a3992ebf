# SPDX-License-Identifier: Apache-2.0
"""Does an exported file predict what the checkpoint does?"""

import dataclasses

import numpy as np

from src.common.encoded_rows import check_rows
from src.common.errors import UserError
from src.common.progress import Progress
from src.dataset import create_dataset
from src.dataset_meta import PADDING_LABEL, DatasetMeta
from src.evaluation.metrics import roc_auc

ROWS = 10_000  # that are compared, about
DYNAMIC_BATCH_ROWS = 1000
LARGEST_DIFFERENCE = 1e-5  # of probabilities, and of the AUC


@dataclasses.dataclass(frozen=True)
class ParityRows:
    """The rows to compare on: `probe_count` probe rows, then rows of the data.

    inputs: sparse_ids int32 [n, S], and dense_values float32 [n, N] if N > 0.  labels: of the rows of the data.
    """

    inputs: list
    labels: np.ndarray
    probe_count: int

    @classmethod
    def of_probes(cls, probes):
        """Take probe rows alone.  probes: by name of the input."""
        inputs = list(probes.values())
        return cls(inputs, np.empty((0, 1), np.float32), len(inputs[0]))

    def add(self, inputs, labels):
        """Return these rows, then others of the data: inputs [m, S] and [m, N], labels [m, 1]."""
        joined = [np.concatenate(columns) for columns in zip(self.inputs, inputs, strict=True)]
        return dataclasses.replace(self, inputs=joined, labels=np.concatenate([self.labels, labels]))

    def __str__(self):
        data = f" and {len(self.labels):,} validation rows" if len(self.labels) else ""
        return f"{self.probe_count:,} probe rows{data}"


def read_rows(data: DatasetMeta):
    """Return some rows of the valid split, or of train if there is none: inputs [n, S] and [n, N], labels [n, 1]."""
    split = "valid" if data.splits["valid"].rows else "train"
    parts, count = [], 0
    dataset = create_dataset(data, split, data.rows_per_record)
    for batch in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
        parts.append(batch)
        count += len(batch[0])
        if count >= ROWS:
            break
    columns = [np.concatenate(column) for column in zip(*parts)]
    *inputs, labels = (column[columns[-1].ravel() != PADDING_LABEL] for column in columns)
    check_rows(*inputs, vocabulary_size=data.vocabulary_size, source=f"{data.path}, split {split}")
    return inputs, labels


def compare(expected, run, rows, batch_size):
    """Run an exported model on ParityRows; return a text on how near it comes to the expected probabilities [n, 1].

    run: a function from numpy inputs to probabilities.  batch_size: of the model, 0 if it is not fixed.
    Raises UserError if it does not come near.
    """
    found = predict_all(run, rows.inputs, batch_size)
    difference = float(np.abs(found - expected).max())
    text = f"compared with the checkpoint on {rows}:\n  probabilities differ by at most {difference:.1e}"
    is_near = difference <= LARGEST_DIFFERENCE  # False for NaN
    labels = rows.labels.ravel()
    if is_near and 0 < labels.sum() < len(labels):
        aucs = [roc_auc(labels, column[rows.probe_count :].ravel()) for column in (found, expected)]
        auc_difference = abs(aucs[0] - aucs[1])
        text += f", the AUC by {auc_difference:.1e}"
        is_near = auc_difference <= LARGEST_DIFFERENCE
    if not is_near:
        raise UserError(f"the exported file does not predict as the checkpoint does, so it is not kept: {text}")
    return f"exported; {text}"


def predict_all(run, inputs, batch_size):
    """Return run(...) of all rows, [n, 1], in batches; a fixed batch is filled up with zeros, others vary in size."""
    rows = batch_size or DYNAMIC_BATCH_ROWS
    parts = []
    progress = Progress("compare", len(inputs[0]), leave=False)
    for start in range(0, len(inputs[0]), rows):
        batch = [column[start : start + rows] for column in inputs]
        count = len(batch[0])
        if batch_size:
            batch = [np.pad(column, ((0, rows - count), (0, 0))) for column in batch]
        parts.append(run(*batch)[:count])
        progress.advance(count)
    progress.close()
    return np.concatenate(parts)
