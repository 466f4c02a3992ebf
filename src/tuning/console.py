# SPDX-License-Identifier: Apache-2.0
"""The lines that a search prints."""

import math
import pathlib

from optuna.trial import FrozenTrial, TrialState

from src.config import Config
from src.tuning.folder import CHECKPOINT_NAME, PAGE_NAME, RECIPE_NAME
from src.tuning.outcome import Outcome
from src.tuning.search_space import SearchSpace
from src.tuning.study import AUC, FINAL, REASON, RECIPE, SECONDS


def announce(space: SearchSpace, minutes: float) -> str:
    """Return the line that tells what is going to be searched."""
    splits = space.data.splits
    return (
        f"search       {len(space.distributions)} settings, {splits['train'].rows:,} training rows, half of "
        f"{splits['valid'].rows:,} validation rows, {minutes:g} minutes"
    )


def trial_line(trial: FrozenTrial, config: Config) -> str:
    """Return the line on a trial that has ended: its number, its recipe in brief, its results, its time."""
    name = trial.user_attrs.get(RECIPE) or ("again" if FINAL in trial.user_attrs else "")
    return f"{trial.number:4} {name:8} {brief(config):72} {result_of(trial)}"


def brief(config: Config) -> str:
    """Return the searched settings of a recipe in a few words."""
    schedule = config.lr_schedule.replace("_", "-") + (f" after {config.warmup_ratio:g}" if config.warmup_ratio else "")
    words = [
        f"B {config.batch_size} D {config.embedding_size} {'-'.join(map(str, config.hidden_sizes))}",
        f"keep {config.keep_prob:g}/{config.embedding_keep_prob:g} lr {config.learning_rate:.3g} {schedule}",
        f"l2 {config.l2_coef:.3g}/{config.l2_linear_factor * config.l2_coef:.2g} ema {config.ema_decay:g}",
        f"<={config.train_epochs} epochs",
        *(["statistics"] if config.value_statistics else []),
    ]
    return " ".join(words)


def result_of(trial: FrozenTrial) -> str:
    """Return the result of a trial that has ended."""
    words = [f"{trial.user_attrs[SECONDS]:.0f} s", result_note(trial)]
    if trial.state != TrialState.FAIL:
        auc = f"AUC {trial.user_attrs[AUC]:.4f}" if AUC in trial.user_attrs else ""
        words = [f"log loss {min(trial.intermediate_values.values()):.4f}", auc, *words]
    return "  ".join(filter(None, words))


def result_note(trial: FrozenTrial) -> str:
    """Return how a trial has ended, and the reason if it has one; "" if it is complete."""
    note = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}.get(trial.state, "")
    reason = trial.user_attrs.get(REASON)
    return f"{note}: {reason}" if reason else note


def describe(outcome: Outcome, folder: pathlib.Path) -> str:
    """Return the summary of a search, with the commands that come next."""
    counts = {state: outcome.count(state) for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)}
    complete, pruned, failed = counts.values()
    numbers = ", ".join(str(trial.number) for trial in outcome.chosen.trials)
    seeds = len(outcome.chosen.trials)
    flags = f"--config_path={folder / RECIPE_NAME} --ckpt_path={folder / CHECKPOINT_NAME}"
    lines = [
        f"trials       {complete} complete, {pruned} pruned, {failed} failed, {outcome.seconds / 60:.1f} minutes",
        f"best         {brief(outcome.config)}",
        f"             trial{'s' * (seeds > 1)} {numbers}: the mean of {seeds} seed{'s' * (seeds > 1)}",
        _describe_metric("log loss", outcome.log_loss),
        _describe_metric("AUC", outcome.auc),
        f"recipe       {folder / RECIPE_NAME}",
        f"page         {folder / PAGE_NAME}",
        f"next         python train.py {flags}",
        f"             python eval.py {flags}",
    ]
    return "\n".join(lines)


def _describe_metric(name, metric):
    optimism = "" if math.isnan(metric.optimism) else f"; optimism {metric.optimism:.4f} ± {metric.optimism_error:.4f}"
    return (
        f"{name:12} {metric.selection:.4f} on the selection half, {metric.held_out:.4f} on the held-out half, "
        f"{metric.difference:.4f} ± {metric.difference_error:.4f} worse{optimism}"
    )
