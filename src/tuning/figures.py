# SPDX-License-Identifier: Apache-2.0
"""The plots of tuning.html."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.ticker import LogLocator, NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution

from src.report.svg import FAINT, FIRST, SECOND, STYLE, subplots, to_svg

MARGIN = 0.05  # of an axis, on either side of what it shows
CROSS: dict[str, Any] = {"color": FIRST, "marker": "X", "markersize": 11, "linestyle": "none"}
POINTS: dict[str, Any] = {"color": SECOND, "marker": "o", "markersize": 4.5, "linestyle": "none"}


@matplotlib.rc_context(STYLE)
def course_plot(complete: Sequence[tuple[float, float]], pruned: Sequence[tuple[float, float]], most: float) -> str:
    """Return the log loss of trials over the minutes at their ends, and the lowest one so far.

    complete, pruned: points (minutes, log loss), in order.  most: the largest log loss to show.
    """
    figure, axes = subplots()
    lowest = [min(loss for _, loss in complete[: end + 1]) for end in range(len(complete))]
    minutes = [each for each, _ in complete]
    axes.plot(*_columns(pruned), color=FAINT, marker="x", markersize=4.5, linestyle="none", label="pruned")
    axes.plot(*_columns(complete), **POINTS, label="complete")
    axes.step(minutes, lowest, where="post", color=FIRST, label="lowest so far")
    axes.set(xlabel="minutes", ylabel="log loss", ylim=_limits([loss for _, loss in complete], most))
    _legend_above(axes)
    return to_svg(figure, "course")


@matplotlib.rc_context(STYLE)
def importance_plot(importances: Mapping[str, float]) -> str:
    """Return the importance of each setting as a bar, the first one on top.  importances: by key, in order."""
    figure, axes = subplots(height=1.0 + 0.28 * len(importances))
    axes.barh(list(importances), list(importances.values()), color=FIRST, height=0.6)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="fraction of the variance of the log loss")
    return to_svg(figure, "importance")


@matplotlib.rc_context(STYLE)
def setting_plot(
    key: str,
    distribution: BaseDistribution,
    values: Sequence[Any],
    log_losses: Sequence[float],
    chosen: int | None,
    most: float,
) -> str:
    """Return the log loss of complete trials over the value of a setting.

    values, log_losses: [trials].  chosen: the index of the trial that is chosen, None if it has no value.
    most: the largest log loss to show.
    """
    figure, axes = subplots(height=2.6)
    positions = list(values)
    if isinstance(distribution, CategoricalDistribution):
        positions = [distribution.choices.index(value) for value in values]
        axes.set_xticks(range(len(distribution.choices)), map(text_of, distribution.choices))
        axes.set_xlim(-0.5, len(distribution.choices) - 0.5)
    elif distribution.log:  # type: ignore[attr-defined]
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.plot(positions, log_losses, **POINTS)
    if chosen is not None:
        axes.plot(positions[chosen], log_losses[chosen], **CROSS)
    axes.set(xlabel=key, ylabel="log loss", ylim=_limits(log_losses, most))
    return to_svg(figure, f"setting-{key}")


@matplotlib.rc_context(STYLE)
def halves_plot(
    points: Sequence[tuple[float, float]],
    first: Sequence[tuple[float, float]],
    chosen: tuple[float, float],
    most: float,
) -> str:
    """Return the log loss on the held-out half over that on the selection half.

    points, first, chosen: of complete trials, of the first ones among them, and of the chosen recipe.
    most: the largest log loss on the selection half to show.
    """
    figure, axes = subplots(height=3.6)
    shown = [*(point for point in points if point[0] <= most), chosen]
    axes.plot(*_columns(points), **POINTS, label="trials")
    axes.plot(*_columns(first), color=FAINT, marker="D", markersize=6, linestyle="none", label="first trials")
    axes.plot(*chosen, **CROSS, label="chosen (mean)")
    axes.set(
        xlabel="log loss, selection half", ylabel="log loss, held-out half",
        xlim=_limits([x for x, _ in shown]), ylim=_limits([y for _, y in shown]),
    )  # fmt: skip
    _legend_above(axes)
    return to_svg(figure, "halves")


def text_of(value: Any) -> str:
    """Return a setting as a reader expects it: numbers with few digits, a tuple or its text with hyphens."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace(",", "-")


def _legend_above(axes):
    """Put the legend above the axes: points may be anywhere within."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=9, columnspacing=1)


def _columns(points):
    return ([x for x, _ in points], [y for _, y in points])


def _limits(values, most=None):
    """Return the limits of an axis that shows the values up to `most`."""
    shown = [value for value in values if most is None or value <= most] or values
    low, high = min(shown), max(shown)
    margin = MARGIN * (high - low) or abs(low) * MARGIN
    return low - margin, high + margin
