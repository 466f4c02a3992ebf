# SPDX-License-Identifier: Apache-2.0
"""The numbers behind the plots of predicted click probabilities: ROC, calibration, distribution."""

import numpy as np
import polars as pl
from sklearn.metrics import roc_curve

from src.evaluation.metrics import NORMAL_QUANTILE, mean, sorted_rows

ROC_POINTS = 200
CALIBRATION_GROUPS = 10
HISTOGRAM_BINS = 40


def roc_points(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the false and the true positive rates of the ROC curve, [p], from (0, 0) to (1, 1).

    labels: [n] with both 0 and 1.  probabilities: [n].  weights: [n], or None.  A curve of many points is thinned to
    about ROC_POINTS, evenly spread over the number of rows, or the weight, above the threshold.
    """
    false_rates, true_rates, _ = roc_curve(labels, probabilities, sample_weight=weights)
    if len(false_rates) <= ROC_POINTS:
        return false_rates, true_rates
    click_rate = mean(labels, weights)
    above = true_rates * click_rate + false_rates * (1 - click_rate)
    kept = np.unique(np.searchsorted(above, np.linspace(0, above[-1], ROC_POINTS)))
    return false_rates[kept], true_rates[kept]


def calibration_groups(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> pl.DataFrame:
    """Return a frame with a row for each decile of the prediction, the lowest first.

    Columns: rows, clicks, mean_prediction, click_rate, and low and high, the 95 % interval of the click rate.  Rows of
    the same prediction are in one decile, so that deciles may differ in size, or be missing.
    With weights a decile holds a tenth of the weight, and prediction and click rate are weighted; the interval is that
    of as many rows of equal weights as have the same variance (Kish, "Survey Sampling", 1965).
    Source of the interval: Wilson, Journal of the American Statistical Association 1927.
    """
    labels, probabilities, weights = sorted_rows(labels, probabilities, weights)  # the digits of a sum depend on it
    edges = _quantiles(probabilities, weights, np.arange(1, CALIBRATION_GROUPS) / CALIBRATION_GROUPS)
    rows = pl.DataFrame({"group": np.searchsorted(edges, probabilities, "right"), "label": labels, "p": probabilities})
    rows = rows.with_columns(weight=pl.lit(1.0) if weights is None else pl.Series(weights))
    rows = rows.cast({"label": pl.Float64, "p": pl.Float64, "weight": pl.Float64})
    weight = pl.col("weight")
    groups = rows.group_by("group", maintain_order=True).agg(
        rows=pl.len(),
        clicks=pl.col("label").sum().cast(pl.Int64),
        mean_prediction=(weight * pl.col("p")).sum() / weight.sum(),
        click_rate=(weight * pl.col("label")).sum() / weight.sum(),
        effective_rows=weight.sum() ** 2 / (weight**2).sum(),
    )
    n, click_rate = pl.col("effective_rows"), pl.col("click_rate")
    quantile_square = NORMAL_QUANTILE**2
    center = (click_rate + quantile_square / (2 * n)) / (1 + quantile_square / n)
    variance = click_rate * (1 - click_rate) / n + quantile_square / (4 * n**2)
    margin = variance.sqrt() * NORMAL_QUANTILE / (1 + quantile_square / n)
    return groups.select(
        "rows", "clicks", "mean_prediction", click_rate=click_rate, low=center - margin, high=center + margin
    )


def _quantiles(values, weights, fractions):
    """Return the quantiles of sorted values, [n]; for equal weights those of numpy."""
    if weights is None:
        return np.quantile(values, fractions)
    middles = np.cumsum(weights, dtype=np.float64) - weights / 2
    return np.interp(middles[0] + fractions * (middles[-1] - middles[0]), middles, values)


def prediction_histogram(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges of equal bins of the prediction, [b + 1], and the fractions of clicks and of others in each."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    weights = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    classes = [labels == label for label in (1, 0)]
    sums = (np.histogram(probabilities[is_in], edges, weights=weights[is_in])[0] for is_in in classes)
    clicks, others = (each / (each.sum() or 1) for each in sums)
    return edges, clicks, others
