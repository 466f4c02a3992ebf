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
    powers,
    ratio,
    variance_of_mean,
    weighted_sum,
)

MOST_KEYS = 1 << 19  # of the histogram, two for each bin; 6 MB, with weights 15 MB
MOST_PENDING = 1 << 20  # rows that wait to be sorted into the bins: many at once take less time


class StreamingMetrics:
    """The metrics of all rows so far, as compute_metrics gives them.

    Log loss, calibration and calibration error come from sums, which are exact but for their last digits.  AUC and its
    interval come from a histogram.  It has a bin for each probability that occurs, and both are exact, until there are
    more than MOST_KEYS pairs of a bin and a label.  Then probabilities that differ only in the last bits of their
    float32 share a bin and count as ties.  The AUC is then off by at most auc_error_bound, which is below 1e-5 for
    predictions of any usual distribution; measured are errors below 1e-8, as wrong ties cancel out.
    The histogram does not depend on how the rows are divided into chunks; with weights its sums do, by rounding.
    """

    def __init__(self) -> None:
        self.rows, self.clicks = 0, 0  # without those of weight 0
        self._log_likelihood, self._predictions = 0.0, 0.0  # sums over all rows
        self._gaps = np.zeros(CALIBRATION_BINS)
        self._dropped_bits = 0
        self._keys = np.empty(0, np.uint32)  # 2 * bin + label, ascending; a bin is a float32 without its dropped bits
        # The rows of each key, [keys]; with weights float64 [3, keys], the sums of powers().
        self._counts: np.ndarray = np.empty(0, np.int64)
        self._pending: list[
            tuple[np.ndarray, np.ndarray | None]
        ] = []  # keys of rows, without dropped bits, and weights

    @property
    def has_weights(self) -> bool:
        """Whether the rows have weights."""
        return self._counts.ndim == 2

    @property
    def weight(self) -> float | None:
        """The sum of the weights; None without weights."""
        self._sort_pending()
        return float(self._counts[0].sum()) if self.has_weights else None

    def add(self, labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add rows.  labels: [n] of 0 or 1.  probabilities: float32 [n].  weights: [n], at least 0, or None.

        Raises ValueError if a probability is not in [0, 1], or if some rows have weights and others have none.
        """
        if probabilities.dtype != np.float32 or not ((probabilities >= 0) & (probabilities <= 1)).all():
            raise ValueError("the probabilities must be float32 numbers from 0 to 1")
        if not self.rows and weights is not None:
            self._counts, self._pending = np.empty((3, 0)), []
        if self.has_weights != (weights is not None):
            raise ValueError("either all rows have weights or none")
        if weights is not None:
            labels, probabilities, weights = (column[weights > 0] for column in (labels, probabilities, weights))
        self.rows += len(labels)
        self.clicks += int(np.count_nonzero(labels))
        self._log_likelihood += weighted_sum(log_likelihoods(labels, probabilities), weights)
        self._predictions += weighted_sum(probabilities, weights)
        self._gaps += calibration_gaps(labels, probabilities, weights)
        bits = np.abs(probabilities).view(np.uint32)  # in the order of the numbers, as none is negative
        self._pending.append((2 * bits + (labels == 1).astype(np.uint32), weights))
        if sum(len(keys) for keys, _ in self._pending) > MOST_PENDING:
            self._sort_pending()

    def compute(self) -> Metrics:
        """Return the metrics; NaN where compute_metrics gives NaN, and all of them if there are no rows."""
        clicks, others = self._histogram()
        click_weight = clicks[0].sum()
        weight = click_weight + others[0].sum()
        log_loss = ratio(-self._log_likelihood, weight)
        auc, variance = _auc(clicks, others)
        is_one_class = math.isnan(auc)
        return {
            "auc": auc,
            "auc_interval": [math.nan] * 2 if is_one_class else interval_around(auc, variance),
            "log_loss": log_loss,
            "normalised_entropy": math.nan if is_one_class else log_loss / click_entropy(click_weight / weight),
            "calibration": ratio(self._predictions, click_weight),
            "calibration_error": ratio(np.abs(self._gaps).sum(), weight),
        }

    def auc_error_bound(self) -> float:
        """Return the most by which shared bins can have changed the AUC, 0 while each probability has its own.

        It is half of the fraction of pairs, of a click and another row, that share a bin, by weight.
        """
        clicks, others = (sums[0] for sums in self._histogram())
        pairs = clicks.sum() * others.sum()
        return float(clicks @ others / 2 / pairs) if self._dropped_bits and pairs else 0.0

    def state(self) -> dict[str, np.ndarray]:
        """Return all that from_state needs to continue, as arrays for np.savez: at most 6.3 MB, with weights 15 MB."""
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
        if not self._pending:
            return
        pending, weights = zip(*self._pending)
        self._pending = []
        new_keys = _drop_bits(np.concatenate(pending), self._dropped_bits)
        if self.has_weights:
            new_counts = powers(np.concatenate(weights))
        else:
            new_keys.sort()  # a sort of keys alone is fast, and leaves two runs to merge
            new_counts = np.ones(len(new_keys), np.int64)
        keys = np.concatenate([self._keys, new_keys])
        counts = np.concatenate([self._counts, new_counts], axis=-1)
        self._keys, self._counts = _add_equal(keys, counts)
        while len(self._keys) > MOST_KEYS:
            self._dropped_bits += 1
            self._keys, self._counts = _add_equal(_drop_bits(self._keys, 1), self._counts)

    def _histogram(self):
        """Return for clicks and for other rows the sums of powers() in each bin, float64 [3, bins], lowest bins first.

        Without weights all three are the numbers of rows.
        """
        self._sort_pending()
        is_click = self._keys & 1
        sums = (_add_equal(self._keys >> 1, self._counts * is_of_class)[1] for is_of_class in (is_click, 1 - is_click))
        return tuple(np.broadcast_to(each.astype(np.float64), (3, each.shape[-1])) for each in sums)


def _auc(clicks, others):
    """Return the AUC and the variance of its estimate, that of metrics.auc_interval; NaN with only one class."""
    click_weights, other_weights = clicks[0], others[0]
    click_weight, other_weight = click_weights.sum(), other_weights.sum()
    if not click_weight or not other_weight:
        return math.nan, math.nan
    # The fractions of others below a click of the bin, and of clicks above another row of it.
    below = (np.cumsum(other_weights) - other_weights / 2) / other_weight
    above = 1 - (np.cumsum(click_weights) - click_weights / 2) / click_weight
    variance = variance_of_mean(below, clicks) + variance_of_mean(above, others)
    return float(below @ click_weights / click_weight), variance


def _drop_bits(keys, count):
    """Return keys whose bins have lost their last bits."""
    return keys >> (count + 1) << 1 | keys & 1


def _add_equal(keys, counts):
    """Return the distinct keys, ascending, and the sums of the counts, [keys] or [3, keys], of each."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] + 1))  # the first key differs from the one before it, too
    return keys[starts], np.add.reduceat(counts[..., order], starts, axis=-1) if len(keys) else counts
