# SPDX-License-Identifier: Apache-2.0
"""The plots of report.html."""

import dataclasses
import logging

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home folder it works, but would warn

import matplotlib
import numpy as np
import polars as pl

from src.report.svg import FAINT, FIRST, SECOND, STYLE
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


def printable(value: str) -> str:
    """Return the value of a field as the report can show it, truncated to VALUE_LENGTH."""
    text = "".join(character if character.isprintable() else "�" for character in value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _columns(records):
    """Return the fields of dataclasses as columns."""
    return zip(*map(dataclasses.astuple, records))
