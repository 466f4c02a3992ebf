# SPDX-License-Identifier: Apache-2.0
"""Fit a Recalibration to validation rows: Platt's method, isotonic regression or none, as cross-validation prefers.

Platt's method has two parameters and suits a network that is over- or underconfident everywhere alike; isotonic
regression follows any monotone shape, and needs more rows for it.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from src.common.errors import UserError
from src.evaluation.metrics import log_loss, roc_auc, sorted_rows
from src.evaluation.recalibration import Method, Recalibration, logit

FEWEST_OF_A_CLASS = 30  # clicks, and other rows, that the validation split must have
FOLDS = 5
NONE = "none"  # of the methods: the probabilities as they are
KNOT_CLICKS = 10  # clicks, and other rows, that a knot of isotonic regression must stand for
MOST_KNOTS = 50
LAST_LOGIT = float(logit(np.ones(1))[0])  # that of a probability of 1; the first one is its negative


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted Recalibration, None if cross-validation prefers the probabilities as they are.

    rows: the number of validation rows.  losses: by the name of a method the log loss, in nats, of the rows of each
    fold with a map that was fitted to the other folds; that of the uncalibrated rows under NONE.
    """

    recalibration: Recalibration | None
    rows: int
    losses: dict[str, float]


def fit_recalibration(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Fit:
    """Return the Fit of the method with the lowest cross-validated log loss; it does not depend on the order of rows.

    labels: [n] of 0 or 1.  probabilities: float32 [n], as the network gives them for validation rows.  weights: [n], by
    which rows count in the maps and in the log loss; those of weight 0 are left out.
    Raises UserError if the rows are too few or the network does not tell clicks from other rows.
    """
    # Sorted, so that each fold has rows of every prediction, the same ones in each run.
    rows = sorted_rows(labels, probabilities, weights)
    _check(*rows)
    row_count, losses = len(rows[0]), {NONE: log_loss(*rows)}
    losses |= {str(method): _cross_validate(fitter, *rows) for method, fitter in FITTERS.items()}
    method = min(FITTERS, key=lambda each: losses[each])
    if losses[NONE] <= losses[method]:
        return Fit(None, row_count, losses)
    try:
        return Fit(FITTERS[method](*rows), row_count, losses)
    except ValueError as error:
        raise UserError(f"the validation split has no increasing map ({error}); evaluate another checkpoint") from error


def fit_platt(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Recalibration:
    """Return the line slope * logit + intercept of the highest likelihood, by weight if there are weights.

    Source: Platt, "Probabilistic Outputs for Support Vector Machines", 1999; here the score is the network's logit.
    Raises ValueError if the slope is not positive.
    """
    from sklearn.linear_model import LogisticRegression  # here, as importing it takes more than a second

    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8)  # C: without regularisation
    model.fit(logit(probabilities)[:, None], labels, weights)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    ends = (-LAST_LOGIT, LAST_LOGIT)
    return Recalibration(Method.PLATT, ends, tuple(slope * end + intercept for end in ends))


def fit_isotonic(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Recalibration:
    """Return the increasing map through the blocks of isotonic regression, each at its mean logit.

    With weights the regression, the click rate and the mean logit of a block are weighted.

    Isotonic regression is constant on blocks of rows, which would make ties and change the AUC.  So each block becomes
    a knot at its centre, as in Oron & Flournoy, "Centered Isotonic Regression", 2017.  Neighbouring blocks are joined
    until each has KNOT_CLICKS clicks and as many other rows, so that no knot is at a click rate of 0 or 1, whose logit
    is infinite, and enough rows for at most MOST_KNOTS.
    Raises ValueError if fewer than two knots are left.
    """
    from sklearn.isotonic import isotonic_regression

    if weights is None:
        weights = np.ones(len(labels))
    logits, inverse = np.unique(logit(probabilities), return_inverse=True)
    click_weights, other_weights = np.bincount(inverse, labels * weights), np.bincount(inverse, (1 - labels) * weights)
    rates = isotonic_regression(
        click_weights / (click_weights + other_weights), sample_weight=click_weights + other_weights
    )
    logit_sums = (click_weights + other_weights) * logits
    columns = np.stack([np.bincount(inverse, labels), np.bincount(inverse), click_weights, other_weights, logit_sums])
    blocks = np.add.reduceat(columns, [0, *np.flatnonzero(np.diff(rates)) + 1], axis=1)
    knots = np.add.reduceat(blocks, _join_blocks(*blocks[:2]), axis=1)
    _, _, click_weights, other_weights, logit_sums = knots
    centers = logit_sums / (click_weights + other_weights)
    targets = np.log(click_weights) - np.log(other_weights)
    return Recalibration(Method.ISOTONIC, tuple(centers.tolist()), tuple(targets.tolist()))


Fitter = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Recalibration]
FITTERS: dict[Method, Fitter] = {
    Method.PLATT: fit_platt,  # the simpler one first: it wins a tie
    Method.ISOTONIC: fit_isotonic,
}


def _join_blocks(clicks, rows):
    """Return the index of the first block of each group of neighbours with enough clicks, others and rows."""
    sizes = np.stack([clicks, rows - clicks, rows])  # [3, blocks]
    enough = np.array([KNOT_CLICKS, KNOT_CLICKS, rows.sum() / MOST_KNOTS])
    before = np.cumsum(sizes, axis=1) - sizes
    groups = [0]
    for block in range(1, len(rows)):
        group, rest = before[:, block] - before[:, groups[-1]], before[:, -1] + sizes[:, -1] - before[:, block]
        if (group >= enough).all() and (rest >= enough).all():
            groups.append(block)
    return groups


def _cross_validate(fitter, labels, probabilities, weights):
    """Return the mean log loss of all rows, each recalibrated without its fold; infinite if a fold cannot be fitted."""
    recalibrated = np.empty(len(labels), np.float32)
    for fold in range(FOLDS):
        held_out = np.arange(len(labels)) % FOLDS == fold
        fitted_weights = None if weights is None else weights[~held_out]
        try:
            fitted = fitter(labels[~held_out], probabilities[~held_out], fitted_weights)
        except ValueError:
            return float("inf")
        recalibrated[held_out] = fitted.apply(probabilities[held_out])
    return log_loss(labels, recalibrated, weights)


def _check(labels, probabilities, weights):
    clicks, rows = int(labels.sum()), len(labels)
    if min(clicks, rows - clicks) < FEWEST_OF_A_CLASS:
        raise UserError(
            f"the validation split has {rows:,} rows with {clicks:,} clicks; --fit_calibration=True needs at least "
            f"{FEWEST_OF_A_CLASS} clicks and as many other rows: preprocess with a larger --valid_ratio"
        )
    auc = roc_auc(labels, probabilities, weights)
    if not 0.5 < auc < 1:
        raise UserError(
            f"the validation split has an AUC of {auc:.4f}; --fit_calibration=True needs one between 0.5 and 1: "
            "evaluate another checkpoint"
        )
