# SPDX-License-Identifier: Apache-2.0
"""The CSV file of --predictions_path: a line for each row of a split."""

import os

import numpy as np
import polars as pl

from src.common.files import write_text
from src.common.scores import DECIMALS, PROBABILITY, ROW


def write_predictions(
    path: os.PathLike | str, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> None:
    """Write row, label, probability and, if there are any, weight of all rows, atomically; OSError names the path.

    labels: [n] of 0 or 1.  probabilities, weights: float32 [n].  row: the position from 1.
    """
    rows = pl.DataFrame({ROW: np.arange(1, len(labels) + 1), "label": labels.astype(np.int8)})
    rows = rows.with_columns(pl.Series(PROBABILITY, probabilities, dtype=pl.Float32))
    if weights is not None:
        rows = rows.with_columns(pl.Series("weight", weights).cast(pl.String))  # with all its digits
    write_text(path, rows.write_csv(float_precision=DECIMALS))
