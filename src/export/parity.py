# SPDX-License-Identifier: Apache-2.0
"""The comparison of an exported model with its checkpoint: both must predict the same probabilities."""

import dataclasses
import pathlib

import numpy as np

from src.common.encoded_rows import batches_of, pad_batch
from src.common.errors import UserError
from src.common.progress import Progress
from src.dataset_meta import DatasetMeta
from src.evaluation.metrics import roc_auc
from src.export.dataset_rows import read_batches
from src.export.formats import ExportOptions, NumpyFunction, load_exported

VALIDATION_ROWS = 10_000  # to compare; complete records
DYNAMIC_BATCH_ROWS = 1000
TOLERANCE = 1e-5  # of probabilities and of the AUC


@dataclasses.dataclass(frozen=True)
class ParityRows:
    """The rows to compare on: `probe_count` probe rows, then validation rows.

    inputs: sparse_ids int32 [n, S], and dense_values float32 [n, N] if N > 0.  labels: [m, 1], of the validation rows.
    """

    inputs: list[np.ndarray]
    labels: np.ndarray
    probe_count: int

    @classmethod
    def of_probes(cls, probes: dict[str, np.ndarray]) -> "ParityRows":
        """Take probe rows, by name of the input, alone."""
        inputs = list(probes.values())
        return cls(inputs, np.empty((0, 1), np.float32), len(inputs[0]))

    def with_validation_rows(self, data: DatasetMeta) -> "ParityRows":
        """Return these rows followed by some rows of the validation split, or of another one if that is empty."""
        split = next((name for name in ("valid", "train", "test") if data.splits[name].rows), "valid")
        batches, count = [], 0
        for inputs, labels in read_batches(data, split, data.rows_per_record):
            batches.append((*inputs, labels))
            count += len(labels)
            if count >= VALIDATION_ROWS:
                break
        *inputs, labels = (np.concatenate(column) for column in zip(*batches))
        return self.add(inputs, labels)

    def add(self, inputs: list[np.ndarray], labels: np.ndarray) -> "ParityRows":
        """Return these rows followed by validation rows: inputs [m, S] and [m, N], labels [m, 1]."""
        joined = [np.concatenate(columns) for columns in zip(self.inputs, inputs, strict=True)]
        return dataclasses.replace(self, inputs=joined, labels=np.concatenate([self.labels, labels]))

    def __str__(self):
        validation = f" and {len(self.labels):,} validation rows" if len(self.labels) else ""
        return f"{self.probe_count:,} probe rows{validation}"


def compare_exported(path: pathlib.Path, options: ExportOptions, rows: ParityRows, expected: np.ndarray) -> str:
    """Run an exported file on ParityRows and describe the difference from the expected probabilities, [n, 1].

    Raises UserError if it exceeds TOLERANCE.
    """
    run = load_exported(path, options.file_format)
    if run is None:
        return f"not compared with the checkpoint: nothing here runs {options.file_format}; for ONNX: onnxruntime"
    return compare(predict_all(run, rows.inputs, options.batch_size), expected, rows)


def compare(found: np.ndarray, expected: np.ndarray, rows: ParityRows) -> str:
    """Describe the difference of two predictions for ParityRows, [n, 1]; UserError if it exceeds TOLERANCE."""
    difference = float(np.abs(found - expected).max())
    text = f"compared with the checkpoint on {rows}:\n  probabilities differ by at most {difference:.1e}"
    is_near = difference <= TOLERANCE  # False for NaN
    labels = rows.labels.ravel()
    if is_near and 0 < labels.sum() < len(labels):
        aucs = [roc_auc(labels, probabilities[rows.probe_count :].ravel()) for probabilities in (found, expected)]
        auc_difference = abs(aucs[0] - aucs[1])
        text += f", the AUC by {auc_difference:.1e}"
        is_near = auc_difference <= TOLERANCE
    if not is_near:
        raise UserError(f"the exported file does not predict as the checkpoint does, so it is not kept: {text}")
    return f"exported; {text}"


def predict_all(run: NumpyFunction, inputs: list[np.ndarray], batch_size: int) -> np.ndarray:
    """Return the probabilities of all rows, [n, 1], batch by batch.  batch_size: of the model, 0 if it is dynamic.

    The last batch is padded with zeros if the size is fixed, else it is smaller.
    """
    rows = batch_size or DYNAMIC_BATCH_ROWS
    probabilities = []
    progress = Progress("compare", len(inputs[0]), leave=False)
    for batch in batches_of(inputs, rows):
        count = len(batch[0])
        probabilities.append(run(*(pad_batch(batch, rows) if batch_size else batch))[:count])
        progress.advance(count)
    progress.close()
    return np.concatenate(probabilities)
