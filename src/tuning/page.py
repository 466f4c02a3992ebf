# SPDX-License-Identifier: Apache-2.0
"""tuning.html: the course of a search, its optimism, the settings and all trials, in one file for any browser."""

import math
import pathlib
import time

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from src.common.files import write_text
from src.common.flags import this_command
from src.config import Config
from src.report.html import Picture, render
from src.tuning import figures
from src.tuning.console import brief, result_note
from src.tuning.folder import CHECKPOINT_NAME, PAGE_NAME, RECIPE_NAME
from src.tuning.importance import importances_of
from src.tuning.outcome import Outcome, is_complete
from src.tuning.recipe_file import differing
from src.tuning.study import AUC, EPOCHS, FINAL, RECIPE, SECONDS, SEED

TEMPLATE = pathlib.Path(__file__).with_name("page.html.j2")
SHOWN_QUANTILE = 0.8  # of the log losses; axes end there
TRIALS_HEADER = ("trial", "recipe", "log loss", "AUC", "after epochs", "seconds", "result")


def write_page(folder: pathlib.Path, outcome: Outcome, defaults: Config) -> None:
    """Write tuning.html in a folder, atomically.  defaults: the recipe shows the settings that differ from them."""
    complete = [trial for trial in outcome.trials if is_complete(trial)]
    most = float(np.quantile(np.array([trial.value for trial in complete]), SHOWN_QUANTILE))
    with_values = [trial for trial in complete if trial.params]  # not the start, if it is outside the space
    values = {
        "folder": folder,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": this_command(),
        "summary": _summary(outcome),
        "tiles": _tiles(outcome),
        "course": [_course(outcome, most), *_importance(outcome)],
        "optimism": _optimism(outcome, complete, most),
        "settings": [_setting(key, outcome, with_values, most) for key in outcome.space.distributions if with_values],
        "trials": {
            "text": "Metrics are those of the best validation of a trial, on the selection half.",
            "header": TRIALS_HEADER,
            "rows": [_row(trial, outcome) for trial in outcome.trials],
        },
        "recipe_path": folder / RECIPE_NAME,
        "checkpoint_path": folder / CHECKPOINT_NAME,
        "recipe": list(differing(outcome.config, defaults).items()),
    }
    write_text(folder / PAGE_NAME, render(TEMPLATE, values))


def _summary(outcome):
    rows = " and ".join(f"{count:,}" for count in outcome.rows)
    return (
        f"{len(outcome.trials)} trials on {outcome.space.data.splits['train'].rows:,} training rows, compared by half "
        f"of the validation set; the other half was scored at the end ({rows} rows). The test set was not read."
    )


def _tiles(outcome):
    log_loss, auc = outcome.log_loss, outcome.auc
    tiles = (
        ("log loss", f"{log_loss.selection:.4f}", "on the half that chose the recipe"),
        ("log loss", f"{log_loss.held_out:.4f}", "on the held-out half"),
        ("AUC", f"{auc.selection:.4f}", "on the half that chose the recipe"),
        ("AUC", f"{auc.held_out:.4f}", "on the held-out half"),
        ("AUC optimism", _number(auc.optimism), f"± {_number(auc.optimism_error)}, see below"),
        ("minutes", f"{outcome.seconds / 60:.1f}", f"{len(outcome.trials)} trials"),
    )
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _course(outcome, most):
    ends = np.cumsum([trial.user_attrs.get(SECONDS, 0.0) / 60 for trial in outcome.trials])
    points = {state: [] for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
    for trial, end in zip(outcome.trials, ends):
        points[trial.state].append((float(end), lowest(trial)))
    complete, pruned, failed = points.values()
    text = (
        f"{len(complete)} trials are complete, {len(pruned)} were pruned, {len(failed)} failed. The lowest log loss of "
        f"a single trial is {min(loss for _, loss in complete):.4f}."
    )
    rows = [(f"{minutes:.1f}", f"{loss:.4f}") for minutes, loss in complete]
    return Picture.of("Log loss", figures.course_plot(complete, pruned, most), text, ("minutes", "log loss"), rows)


def _importance(outcome):
    importances = importances_of(outcome.study, outcome.space)
    if not importances:
        return []
    first = next(iter(importances))
    text = f"By fANOVA over the complete trials: {first} explains most of the differences in log loss."
    rows = [(key, f"{value:.3f}") for key, value in importances.items()]
    return [
        Picture.of(
            "Importance of the settings", figures.importance_plot(importances), text, ("setting", "importance"), rows
        )
    ]


def _optimism(outcome, complete, most):
    first = [trial for trial in complete if RECIPE in trial.user_attrs]
    points = [(trial.value, outcome.held_out[trial.number]) for trial in complete]
    first_points = [(trial.value, outcome.held_out[trial.number]) for trial in first]
    chosen = outcome.log_loss.selection, outcome.log_loss.held_out
    text = (
        f"The chosen recipe has {chosen[0]:.4f} on the selection half and {chosen[1]:.4f} on the held-out half. "
        "Selection that only fits the selection half moves points to the left and not down."
    )
    rows = [(f"{x:.4f}", f"{y:.4f}") for x, y in points]
    picture = Picture.of(
        "Both halves", figures.halves_plot(points, first_points, chosen, most), text, ("selection", "held out"), rows
    )
    metrics = (("log loss", outcome.log_loss), ("AUC", outcome.auc))
    return {
        "text": (
            "The best of many trials is best partly by chance. The plain difference between the halves is mostly the "
            "chance of which rows are in which half. The first trials were chosen before any validation, so theirs is "
            "that chance alone; optimism is what is left when it is taken off. Errors are standard errors."
        ),
        "pictures": [picture],
        "header": ("", "selection half", "held-out half", "worse by", "optimism"),
        "rows": [
            (
                name, f"{each.selection:.4f}", f"{each.held_out:.4f}",
                f"{each.difference:.4f} ± {each.difference_error:.4f}",
                f"{_number(each.optimism)} ± {_number(each.optimism_error)}",
            )
            for name, each in metrics
        ],
    }  # fmt: skip


def _setting(key, outcome, trials, most):
    numbers = [trial.number for trial in trials]
    values, losses = [trial.params[key] for trial in trials], [trial.value for trial in trials]
    chosen = outcome.chosen.trials[0].number
    index = numbers.index(chosen) if chosen in numbers else None
    text = f"Chosen: {figures.text_of(getattr(outcome.config, key))}."
    rows = [
        (str(number), figures.text_of(value), f"{loss:.4f}") for number, value, loss in zip(numbers, values, losses)
    ]
    svg = figures.setting_plot(key, outcome.space.distributions[key], values, losses, index, most)
    return Picture.of(key, svg, text, ("trial", key, "log loss"), rows)


def _row(trial: FrozenTrial, outcome: Outcome) -> tuple[str, ...]:
    attributes = trial.user_attrs
    config = outcome.space.config_of(trial.params, attributes.get(SEED))
    name = f" ({attributes[RECIPE]})" if RECIPE in attributes else " (again)" if FINAL in attributes else ""
    return (
        f"{trial.number}{name}",
        brief(config),
        _number(lowest(trial)),
        _number(attributes.get(AUC, math.nan)),
        _number(attributes.get(EPOCHS, math.nan), 2),
        f"{attributes[SECONDS]:.0f}",
        "chosen" if trial in outcome.chosen.trials else result_note(trial),
    )


def lowest(trial: FrozenTrial) -> float:
    """Return the lowest log loss of the validations of a trial; NaN if there were none."""
    return min(trial.intermediate_values.values(), default=math.nan)


def _number(value, digits=4):
    return "" if math.isnan(value) else f"{value:.{digits}f}"
