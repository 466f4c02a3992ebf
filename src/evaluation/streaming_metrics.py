# SPDX-License-Identifier: Apache-2.0
"""Metrics of predictions that arrive chunk by chunk, in memory that does not grow with them."""

import math

import numpy as np

from src.evaluation.metrics import (
    CALIBRATION_BINS,
    Metrics,
    calibration_gaps,
    click_entropy,
    interval_around,
    log_likelihoods,
)

MOST_KEYS = 1 << 19  # of the histogram, two for each bin; 6 MB
MOST_PENDING = 1 << 20  # rows that wait to be sorted into the bins: many at once take less time


class StreamingMetrics:
    """The metrics of all rows so far, as compute_metrics gives them.

    Log loss, calibration and calibration error come from sums, which are exact but for their last digits.  AUC and its
    interval come from a histogram.  It has a bin for each probability that occurs, and both are exact, until there are
    more than MOST_KEYS pairs of a bin and a label.  Then probabilities that differ only in the last bits of their
    float32 share a bin and count as ties.  The AUC is then off by at most auc_error_bound, which is below 1e-5 for
    predictions of any usual distribution; measured are errors below 1e-8, as wrong ties cancel out.
    The histogram does not depend on how the rows are divided into chunks.
    """

    def __init__(self) -> None:
        self.rows, self.clicks = 0, 0
        self._log_likelihood, self._predictions = 0.0, 0.0  # sums over all rows
        self._gaps = np.zeros(CALIBRATION_BINS)
        self._dropped_bits = 0
        self._keys = np.empty(0, np.uint32)  # 2 * bin + label, ascending; a bin is a float32 without its dropped bits
        self._counts = np.empty(0, np.int64)  # rows of each key
        self._pending: list[np.ndarray] = []  # keys of rows, without dropped bits

    def add(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        """Add rows.  labels: [n] of 0 or 1.  probabilities: float32 [n]; ValueError unless they are in [0, 1]."""
        if probabilities.dtype != np.float32 or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError("the probabilities must be float32 numbers from 0 to 1")
        self.rows += len(labels)
        self.clicks += int(np.count_nonzero(labels))
        self._log_likelihood += float(log_likelihoods(labels, probabilities).sum())
        self._predictions += float(probabilities.sum(dtype=np.float64))
        self._gaps += calibration_gaps(labels, probabilities)
        bits = np.abs(probabilities).view(np.uint32)  # in the order of the numbers, as none is negative
        self._pending.append(2 * bits + (labels == 1).astype(np.uint32))
        if sum(map(len, self._pending)) > MOST_PENDING:
            self._sort_pending()

    def compute(self) -> Metrics:
        """Return the metrics; NaN where compute_metrics gives NaN, and all of them if there are no rows."""
        log_loss = -self._log_likelihood / self.rows if self.rows else math.nan
        auc, variance = self._auc()
        is_one_class = math.isnan(auc)
        return {
            "auc": auc,
            "auc_interval": [math.nan] * 2 if is_one_class else interval_around(auc, variance),
            "log_loss": log_loss,
            "normalised_entropy": math.nan if is_one_class else log_loss / click_entropy(self.clicks / self.rows),
            "calibration": self._predictions / self.clicks if self.clicks else math.nan,
            "calibration_error": float(np.abs(self._gaps).sum() / self.rows) if self.rows else math.nan,
        }

    def auc_error_bound(self) -> float:
        """Return the most by which shared bins can have changed the AUC, 0 while each probability has its own.

        It is half of the fraction of pairs, of a click and another row, that share a bin.
        """
        clicks, others = self._histogram()
        pairs = clicks.sum() * others.sum()
        return float(clicks @ others / 2 / pairs) if self._dropped_bits and pairs else 0.0

    def state(self) -> dict[str, np.ndarray]:
        """Return all that from_state needs to continue, as arrays for np.savez: at most 6.3 MB."""
        self._sort_pending()
        return {
            "integers": np.array([self.rows, self.clicks, self._dropped_bits]),
            "sums": np.array([self._log_likelihood, self._predictions, *self._gaps]),
            "keys": self._keys,
            "counts": self._counts,
        }

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> "StreamingMetrics":
        """Return the metrics whose state() this is."""
        metrics = cls()
        metrics.rows, metrics.clicks, metrics._dropped_bits = map(int, state["integers"])
        metrics._log_likelihood, metrics._predictions = map(float, state["sums"][:2])
        metrics._gaps = state["sums"][2:].copy()
        metrics._keys, metrics._counts = state["keys"], state["counts"]
        return metrics

    def _sort_pending(self):
        pending = _drop_bits(np.concatenate([np.empty(0, np.uint32), *self._pending]), self._dropped_bits)
        self._pending = []
        keys = np.concatenate([self._keys, pending])
        counts = np.concatenate([self._counts, np.ones(len(pending), np.int64)])
        self._keys, self._counts = _add_equal(keys, counts)
        while len(self._keys) > MOST_KEYS:
            self._dropped_bits += 1
            self._keys, self._counts = _add_equal(_drop_bits(self._keys, 1), self._counts)

    def _histogram(self):
        """Return the clicks and the other rows of each bin, float64, in the order of the probabilities."""
        self._sort_pending()
        is_click = self._keys & 1
        _, clicks = _add_equal(self._keys >> 1, self._counts * is_click)
        _, rows = _add_equal(self._keys >> 1, self._counts)
        return clicks.astype(np.float64), (rows - clicks).astype(np.float64)

    def _auc(self):
        """Return the AUC and the variance of its estimate, that of metrics.auc_interval; NaN with only one class."""
        clicks, others = self._histogram()
        click_count, other_count = clicks.sum(), others.sum()
        if not click_count or not other_count:
            return math.nan, math.nan
        below = (np.cumsum(others) - others / 2) / other_count  # the fraction of others below a click of the bin
        above = 1 - (np.cumsum(clicks) - clicks / 2) / click_count
        variance = _variance_of_mean(below, clicks) + _variance_of_mean(above, others)
        return float(below @ clicks / click_count), variance


def _drop_bits(keys, count):
    """Return keys whose bins have lost their last bits."""
    return keys >> (count + 1) << 1 | keys & 1


def _add_equal(keys, counts):
    """Return the distinct keys, ascending, and the sum of the counts of each."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] + 1))  # the first key differs from the one before it, too
    return keys[starts], np.add.reduceat(counts[order], starts) if len(keys) else counts


def _variance_of_mean(values, counts):
    """Return the variance of the mean of values that occur so many times; infinite if there is only one."""
    total = counts.sum()
    if total < 2:
        return math.inf
    return float(counts @ (values - values @ counts / total) ** 2 / (total - 1) / total)
