# SPDX-License-Identifier: Apache-2.0
"""The plots of report.html: SVG that takes its colours from the page, so that one file serves light and dark."""

import io
import logging
import re
import warnings

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # without a home folder it works, but would warn

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# What a plot is drawn in, and the variables of the page's style that take its place.
INK, FAINT, LINE, FIRST, SECOND = "#010203", "#040506", "#070809", "#0a0b0c", "#0d0e0f"
VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    LINE: "var(--line)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
}
STYLE = {
    "axes.axisbelow": True, "axes.edgecolor": FAINT, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": INK, "axes.linewidth": 0.8, "axes.spines.right": False, "axes.spines.top": False,
    "figure.facecolor": "none", "font.family": "sans-serif", "font.size": 11, "grid.color": LINE,
    "grid.linewidth": 0.8, "legend.frameon": False, "legend.labelcolor": INK, "lines.linewidth": 1.8,
    "lines.markersize": 6, "svg.fonttype": "none", "svg.hashsalt": "deepfm", "text.color": INK,
    "text.parse_math": False, "xtick.color": FAINT, "xtick.labelcolor": INK, "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}  # fmt: skip
WIDTH, HEIGHT = 4.8, 3.2  # inches: a figure is as wide as a phone, the letters then are large enough
VALUE_LENGTH = 16  # of a value of a field, what is longer is cut


@matplotlib.rc_context(STYLE)
def loss_curves(losses, looks):
    """Return the losses of train steps and the log losses on valid, over epochs.

    losses: [epochs done, loss, learning rate] of each step that was logged.  looks: those of the history of run.json
    that were scored.
    """
    figure, axes = _subplots()
    epochs, values, _ = zip(*losses)
    axes.plot(epochs, values, color=FIRST, label="train, with L2")
    if looks:
        places, valid = zip(*((look["epochs_done"], look["valid"]["log_loss"]) for look in looks))
        axes.plot(places, valid, color=SECOND, marker="o", linestyle="--", label="valid, log loss")
    axes.set(xlabel="epochs", ylabel="loss")
    axes.legend()
    return _svg(figure, "loss")


@matplotlib.rc_context(STYLE)
def auc_curve(looks):
    """Return the AUC on valid over epochs; the best look, that of the lowest log loss, is marked.

    looks: as of loss_curves, one at least.
    """
    figure, axes = _subplots()
    places = [look["epochs_done"] for look in looks]
    values = [look["valid"]["auc"] for look in looks]
    axes.plot(places, values, color=SECOND, marker="o", linestyle="--", label="valid")
    best = min(range(len(looks)), key=lambda place: looks[place]["valid"]["log_loss"])
    axes.plot(places[best], values[best], "*", color=FIRST, markersize=13, label="lowest log loss")
    axes.set(xlabel="epochs", ylabel="AUC")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.legend()
    return _svg(figure, "auc")


@matplotlib.rc_context(STYLE)
def rate_curve(losses):
    """Return the learning rate over epochs.  losses: as of loss_curves."""
    figure, axes = _subplots(height=2.4)
    epochs, _, rates = zip(*losses)
    axes.plot(epochs, rates, color=FIRST)
    axes.set(xlabel="epochs", ylabel="learning rate", ylim=(0, max(rates) * 1.1 or 1))
    return _svg(figure, "rate")


@matplotlib.rc_context(STYLE)
def roc_plot(false_rates, true_rates):
    """Return the ROC curve."""
    figure, axes = _subplots(height=4.2)
    axes.plot([0, 1], [0, 1], color=FAINT, linestyle=":", label="chance")
    axes.plot(false_rates, true_rates, color=FIRST, label="model")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="lower right")
    return _svg(figure, "roc")


@matplotlib.rc_context(STYLE)
def calibration_plot(groups):
    """Return click rate over mean prediction, with the 95 % interval.  groups: of curves.calibration_groups."""
    figure, axes = _subplots(height=4.2)
    predictions, rates = groups["mean_prediction"].to_numpy(), groups["click_rate"].to_numpy()
    end = min(1.0, 1.1 * max(predictions.max(), groups["high"].max()))
    axes.plot([0, end], [0, end], color=FAINT, linestyle=":", label="perfect")
    bars = np.maximum([rates - groups["low"].to_numpy(), groups["high"].to_numpy() - rates], 0)
    axes.errorbar(predictions, rates, bars, color=FIRST, marker="o", linewidth=1.2, capsize=3, label="model, 95 %")
    axes.set(xlabel="mean prediction", ylabel="click rate", aspect="equal", xlim=(0, end), ylim=(0, end))
    axes.legend(loc="upper left")
    return _svg(figure, "calibration")


@matplotlib.rc_context(STYLE)
def distribution_plot(edges, clicks, others):
    """Return how the predictions of clicks and of other rows are distributed, as of curves.score_histogram."""
    figure, axes = _subplots()
    axes.stairs(clicks, edges, color=FIRST, linewidth=1.8, label="clicks")
    axes.stairs(others, edges, color=SECOND, linewidth=1.8, linestyle="--", label="no clicks")
    axes.set(xlabel="predicted click probability", ylabel="share of the rows", xlim=(0, 1))
    axes.legend()
    return _svg(figure, "distribution")


@matplotlib.rc_context(STYLE)
def values_plot(field, scores):
    """Return for each value of a field click rate, mean prediction, and AUC with the rows.

    scores: of evaluation.name_values, the values from top to bottom.
    """
    figure, (rates, aucs) = _subplots(height=1.2 + 0.24 * scores.height, columns=2)
    places = np.arange(scores.height)
    rates.plot(scores["click_rate"], places, color=FIRST, marker="o", linestyle="none", label="clicks")
    rates.plot(
        scores["mean_prediction"], places, color=SECOND, marker="D", linestyle="none", markerfacecolor="none",
        label="predicted",
    )  # fmt: skip
    rates.set_yticks(places, [printable(value) for value in scores["value"]], fontsize=9)
    rates.set(xlabel="click rate")
    rates.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2, fontsize=9, columnspacing=1)
    aucs.axvline(0.5, color=FAINT, linestyle=":")
    aucs.plot(scores["auc"], places, color=FIRST, marker="o", linestyle="none")
    aucs.set(xlabel="AUC")
    aucs.sharey(rates)
    aucs.tick_params(labelleft=False)
    rates.invert_yaxis()
    return _svg(figure, f"values-{field}")


def printable(value):
    """Return the text of a value of a field as a page can show it, cut where it is too long."""
    text = "".join(character if character.isprintable() else "�" for character in value)
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _subplots(height=HEIGHT, columns=1):
    figure = Figure((WIDTH, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _svg(figure, name):
    """Return a picture for a page that has others too: its ids begin with `name`."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the fonts are those of the browser
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = re.sub(r"<style.*?</style>", "", buffer.getvalue(), flags=re.DOTALL)  # it would be that of the whole page
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, variable)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg[svg.index("<svg") :])
