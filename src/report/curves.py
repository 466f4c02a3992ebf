# SPDX-License-Identifier: Apache-2.0
"""The numbers behind the plots of predicted click probabilities: ROC, calibration, distribution."""

import numpy as np
import polars as pl
from sklearn.metrics import roc_curve

from src.evaluation.metrics import NORMAL_QUANTILE

ROC_POINTS = 200
CALIBRATION_GROUPS = 10
HISTOGRAM_BINS = 40


def roc_points(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false and the true positive rates of the ROC curve, [p], from (0, 0) to (1, 1).

    labels: [n] with both 0 and 1.  probabilities: [n].  A curve of many points is thinned to about ROC_POINTS, evenly
    spread over the number of rows above the threshold.
    """
    false_rates, true_rates, _ = roc_curve(labels, probabilities)
    if len(false_rates) <= ROC_POINTS:
        return false_rates, true_rates
    click_rate = labels.mean(dtype=np.float64)
    above = true_rates * click_rate + false_rates * (1 - click_rate)
    kept = np.unique(np.searchsorted(above, np.linspace(0, above[-1], ROC_POINTS)))
    return false_rates[kept], true_rates[kept]


def calibration_groups(labels: np.ndarray, probabilities: np.ndarray) -> pl.DataFrame:
    """Return a frame with a row for each decile of the prediction, the lowest first.

    Columns: rows, clicks, mean_prediction, click_rate, and low and high, the 95 % interval of the click rate.  Rows of
    the same prediction are in one decile, so that deciles may differ in size, or be missing.
    Source of the interval: Wilson, Journal of the American Statistical Association 1927.
    """
    edges = np.quantile(probabilities, np.arange(1, CALIBRATION_GROUPS) / CALIBRATION_GROUPS)
    rows = pl.DataFrame({"group": np.searchsorted(edges, probabilities, "right"), "label": labels, "p": probabilities})
    rows = rows.cast({"label": pl.Float64, "p": pl.Float64})
    rows = rows.sort("group", "p", "label")  # the last digits of a sum depend on the order
    groups = rows.group_by("group", maintain_order=True).agg(
        rows=pl.len(), clicks=pl.col("label").sum().cast(pl.Int64), mean_prediction=pl.col("p").mean()
    )
    n, click_rate = pl.col("rows"), pl.col("clicks") / pl.col("rows")
    quantile_square = NORMAL_QUANTILE**2
    center = (click_rate + quantile_square / (2 * n)) / (1 + quantile_square / n)
    variance = click_rate * (1 - click_rate) / n + quantile_square / (4 * n**2)
    margin = variance.sqrt() * NORMAL_QUANTILE / (1 + quantile_square / n)
    return groups.select(
        "rows", "clicks", "mean_prediction", click_rate=click_rate, low=center - margin, high=center + margin
    )


def prediction_histogram(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges of equal bins of the prediction, [b + 1], and the fractions of clicks and of others in each."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = [np.histogram(probabilities[labels == label], edges)[0] for label in (1, 0)]
    return edges, *(count / max(count.sum(), 1) for count in counts)
