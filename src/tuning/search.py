# SPDX-License-Identifier: Apache-2.0
"""The search: trials, until the time is over or their number is reached, then the finalists with other seeds."""

import dataclasses
import time

import optuna
from optuna.study import Study
from optuna.trial import TrialState

from src.common.signals import StopSignals
from src.tuning.console import trial_line
from src.tuning.finalists import enqueue_final, finalists, seconds_for
from src.tuning.messages import Failed, Trained, Validated
from src.tuning.predictions import PredictionFiles
from src.tuning.search_space import SearchSpace
from src.tuning.study import AUC, EPOCHS, FINAL, REASON, SECONDS, SEED, ask, begun, seconds_spent, waiting
from src.tuning.trial_process import TrialProcess

TRIAL_FRACTION, TRIAL_SECONDS = 1 / 20, 30  # at most for a trial: a part of the search, or as long as starting may take

SEEDS = 2**31


@dataclasses.dataclass(frozen=True)
class Limits:
    """The seconds of a search, and the number of its trials without those of the finalists; 0 for any number."""

    seconds: float
    trials: int = 0


class Search:
    """Runs the trials of a study one after another, and prints a line for each."""

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        limits: Limits,
        process: TrialProcess,
        files: PredictionFiles,
        signals: StopSignals,
    ):
        self._study, self._space, self._limits = study, space, limits
        self._process, self._files, self._signals = process, files, signals

    def run(self) -> None:
        """Run what is left of the search; a signal ends it by Stopped, and leaves the trial to be run again."""
        while (trial := self._next()) is not None:
            self._run(trial)
            self._signals.check()

    def _next(self):
        """Return the next trial; None at the end."""
        if seconds_spent(self._study) >= self._limits.seconds:
            return None
        if waiting(self._study) or self._is_searching() or enqueue_final(self._study, self._limits.seconds):
            return ask(self._study, self._space.distributions, self._space.first_trials(), self._seed)
        return None

    @property
    def _seed(self):
        return self._space.start.seed

    def _next_seed(self):
        """Return the seed of the trial that has just begun: one of its own.

        A recipe can be lucky with a seed, and so can those near it: with one seed for all a search would find those.
        """
        return (self._seed + len(begun(self._study)) - 1) % SEEDS

    def _is_searching(self):
        searched = sum(FINAL not in trial.user_attrs for trial in begun(self._study))
        if self._limits.trials and searched >= self._limits.trials:
            return False
        finals = seconds_for(finalists(self._study), self._limits.seconds)
        return seconds_spent(self._study) + finals < self._limits.seconds

    def _run(self, trial: optuna.Trial) -> None:
        is_final = FINAL in trial.user_attrs
        config = self._space.config_of(trial.params, self._next_seed())
        trial.set_user_attr(SEED, config.seed)
        watch = _Watch(trial, is_pruned=not is_final)
        seconds = max(self._limits.seconds * TRIAL_FRACTION, TRIAL_SECONDS)
        if is_final:
            seconds *= 2  # its recipe has been fast enough, so a second chance costs little
        result = self._process.train(config, seconds, watch.on_validation, self._signals.check)
        trial.set_user_attr(SECONDS, watch.seconds)
        self._tell(trial, result, watch)
        print(trial_line(self._study.get_trials(deepcopy=False)[trial.number], config), flush=True)

    def _tell(self, trial, result: Trained | Failed, watch):
        if isinstance(result, Failed):
            trial.set_user_attr(REASON, result.reason)
            has_metrics = result.is_late and watch.is_validated  # those before a crash or a NaN say nothing good
            self._study.tell(trial, state=TrialState.PRUNED if has_metrics else TrialState.FAIL)
            return
        trial.set_user_attr(AUC, result.best.auc)
        trial.set_user_attr(EPOCHS, result.best.epochs)
        if watch.is_over:
            self._study.tell(trial, state=TrialState.PRUNED)
            return
        self._files.save(trial.number, result.predictions)  # before the trial is complete, as a kill may come between
        self._study.tell(trial, result.best.log_loss)


class _Watch:
    """Reports the validations of a trial to its study, and tells when it is to be pruned."""

    def __init__(self, trial: optuna.Trial, *, is_pruned: bool):
        self._trial, self._is_pruned = trial, is_pruned
        self._start = time.monotonic()
        self._count = 0
        self.is_over = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @property
    def is_validated(self) -> bool:
        return self._count > 0

    def on_validation(self, validated: Validated) -> bool:
        self._trial.report(validated.log_loss, self._count)
        self._trial.set_user_attr(SECONDS, self.seconds)  # those of a trial that a kill interrupts count, too
        self._count += 1
        self.is_over = self._is_pruned and self._trial.should_prune()
        return self.is_over
