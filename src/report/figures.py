# SPDX-License-Identifier: Apache-2.0
"""The plots of report.html."""

import dataclasses
import logging
from collections.abc import Sequence

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home folder it works, but would warn

import matplotlib
import numpy as np
import polars as pl

from src.evaluation.field_pairs import FieldPair
from src.evaluation.importance import FieldImportance
from src.report.svg import FAINT, FIRST, INK, SECOND, STYLE
from src.report.svg import subplots as _subplots
from src.report.svg import to_svg as _svg
from src.report.training_history import LoggedLoss, TrainingHistory

VALUE_LENGTH = 16  # characters; longer values of a field are truncated


@matplotlib.rc_context(STYLE)
def loss_curves(history: TrainingHistory) -> str:
    """Return the training loss and, if there were validations, the validation log loss over epochs."""
    figure, axes = _subplots()
    epochs, losses, _ = _columns(history.losses)
    axes.plot(epochs, losses, color=FIRST, label="training, with L2")
    if history.validations:
        epochs, _, log_losses = _columns(history.validations)
        axes.plot(epochs, log_losses, color=SECOND, marker="o", linestyle="--", label="validation log loss")
    axes.set(xlabel="epochs", ylabel="loss")
    axes.legend()
    return _svg(figure, "loss")


@matplotlib.rc_context(STYLE)
def auc_curve(history: TrainingHistory) -> str:
    """Return the validation AUC over epochs, with the validation of the lowest log loss marked; one at least."""
    figure, axes = _subplots()
    epochs, aucs, _ = _columns(history.validations)
    axes.plot(epochs, aucs, color=SECOND, marker="o", linestyle="--", label="validation")
    axes.plot(history.best.epochs, history.best.auc, "*", color=FIRST, markersize=13, label="lowest log loss")
    axes.set(xlabel="epochs", ylabel="AUC")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.legend()
    return _svg(figure, "auc")


@matplotlib.rc_context(STYLE)
def learning_rate_curve(losses: tuple[LoggedLoss, ...]) -> str:
    """Return the learning rate over epochs."""
    figure, axes = _subplots(height=2.4)
    epochs, _, learning_rates = _columns(losses)
    axes.plot(epochs, learning_rates, color=FIRST)
    axes.set(xlabel="epochs", ylabel="learning rate", ylim=(0, max(learning_rates) * 1.1 or 1))
    return _svg(figure, "rate")


@matplotlib.rc_context(STYLE)
def roc_plot(false_positive_rates: np.ndarray, true_positive_rates: np.ndarray) -> str:
    """Return the ROC curve, as of curves.roc_points."""
    figure, axes = _subplots(height=4.2)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="chance")
    axes.plot(false_positive_rates, true_positive_rates, color=FIRST, label="model")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right")
    return _svg(figure, "roc")


@matplotlib.rc_context(STYLE)
def calibration_plot(groups: pl.DataFrame) -> str:
    """Return the click rate over the mean prediction, with its 95 % interval.  groups: of curves.calibration_groups."""
    figure, axes = _subplots(height=4.2)
    predictions, click_rates = groups["mean_prediction"].to_numpy(), groups["click_rate"].to_numpy()
    end = min(1.0, 1.1 * max(predictions.max(), groups["high"].max()))
    axes.plot([0, end], [0, end], color=FAINT, linestyle=":", label="perfect")
    bars = np.maximum([click_rates - groups["low"].to_numpy(), groups["high"].to_numpy() - click_rates], 0)
    axes.errorbar(
        predictions, click_rates, bars, color=FIRST, marker="o", linewidth=1.2, capsize=3, label="model, 95 %"
    )
    axes.set(xlabel="mean prediction", ylabel="click rate", aspect="equal", xlim=(0, end), ylim=(0, end))
    axes.legend(loc="upper left")
    return _svg(figure, "calibration")


@matplotlib.rc_context(STYLE)
def distribution_plot(edges: np.ndarray, clicks: np.ndarray, others: np.ndarray) -> str:
    """Return the distribution of the predictions of clicks and of other rows, as of curves.prediction_histogram."""
    figure, axes = _subplots()
    axes.stairs(clicks, edges, color=FIRST, linewidth=1.8, label="clicks")
    axes.stairs(others, edges, color=SECOND, linewidth=1.8, linestyle="--", label="no clicks")
    axes.set(xlabel="predicted click probability", ylabel="fraction of the rows", xlim=(0, 1))
    axes.legend()
    return _svg(figure, "distribution")


@matplotlib.rc_context(STYLE)
def values_plot(field: str, metrics: pl.DataFrame) -> str:
    """Return the click rate, the mean prediction and the AUC on the rows of each value of a field.

    metrics: of slices.FieldSlices.metrics; its rows go from top to bottom.
    """
    figure, (rates, aucs) = _subplots(height=1.2 + 0.24 * metrics.height, columns=2)
    positions = np.arange(metrics.height)
    rates.plot(metrics["click_rate"], positions, color=FIRST, marker="o", linestyle="none", label="clicks")
    rates.plot(
        metrics["mean_prediction"], positions, color=SECOND, marker="D", linestyle="none", markerfacecolor="none",
        label="predicted",
    )  # fmt: skip
    rates.set_yticks(positions, [printable(value) for value in metrics["value"]], fontsize=9)
    rates.set(xlabel="click rate")
    rates.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2, fontsize=9, columnspacing=1)
    aucs.axvline(0.5, color=FAINT, linestyle=":")
    aucs.plot(metrics["auc"], positions, color=FIRST, marker="o", linestyle="none")
    aucs.set(xlabel="AUC")
    aucs.sharey(rates)
    aucs.tick_params(labelleft=False)
    rates.invert_yaxis()
    return _svg(figure, f"values-{field}")


@matplotlib.rc_context(STYLE)
def importance_plot(importance: Sequence[FieldImportance]) -> str:
    """Return the rise of the log loss and the drop of the AUC for each permuted field, with their 95 % intervals.

    The fields go from top to bottom.
    """
    figure, (log_losses, aucs) = _subplots(height=0.8 + 0.24 * len(importance), columns=2)
    _bars(log_losses, [printable(each.field) for each in importance], [each.log_loss_rise for each in importance])
    log_losses.set(xlabel="rise of the log loss")
    _bars(aucs, [""] * len(importance), [each.auc_drop for each in importance])
    aucs.set(xlabel="drop of the AUC")
    return _svg(figure, "importance")


@matplotlib.rc_context(STYLE)
def pairs_plot(pairs: Sequence[FieldPair]) -> str:
    """Return the standard deviation of the FM term of pairs of fields, from top to bottom."""
    figure, axes = _subplots(height=0.8 + 0.24 * len(pairs))
    axes.barh(np.arange(len(pairs)), [pair.deviation for pair in pairs], height=0.6, color=FIRST)
    _name_bars(axes, [pair_name(pair) for pair in pairs])
    axes.set(xlabel="standard deviation of the term, in logits")
    return _svg(figure, "pairs")


def pair_name(pair: FieldPair) -> str:
    """Return the names of both fields as the report shows them."""
    return " * ".join(map(printable, pair.fields))


def printable(value: str) -> str:
    """Return the value of a field as the report can show it, truncated to VALUE_LENGTH."""
    text = "".join(character if character.isprintable() else "�" for character in value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _bars(axes, names, estimates):
    """Draw estimates as bars with their intervals, the first one on top."""
    positions, values = np.arange(len(estimates)), np.array([each.value for each in estimates])
    margins = np.array([each.high - each.value for each in estimates])
    margins[np.isinf(margins)] = np.nan  # matplotlib leaves it out
    axes.barh(positions, values, height=0.6, color=FIRST)
    axes.errorbar(values, positions, xerr=margins, color=INK, linestyle="none", linewidth=1.2, capsize=2)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    _name_bars(axes, names)


def _name_bars(axes, names):
    """Name bars by the axis, the first one on top."""
    axes.set_yticks(np.arange(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _columns(records):
    """Return the fields of dataclasses as columns."""
    return zip(*map(dataclasses.astuple, records))
