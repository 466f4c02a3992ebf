# SPDX-License-Identifier: Apache-2.0
"""The choice among the trials: the best recipes are trained with other seeds too, and their mean decides.

One seed can be lucky: over seeds the log loss of a recipe varies more than the best trials differ.
"""

import dataclasses
import json
import math
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from src.tuning.study import AUC, FINAL, SECONDS, begun

FINALISTS = 5
MORE_SEEDS = 2
TIME_FRACTION = 0.2  # of a search, for the runs with other seeds


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A recipe by its values, and its complete trials, one for each seed."""

    values: dict[str, Any]
    trials: tuple[FrozenTrial, ...]

    @property
    def log_loss(self) -> float:
        """The mean over the seeds, on the selection half."""
        return math.fsum(trial.values[0] for trial in self.trials) / len(self.trials)

    @property
    def auc(self) -> float:
        """The mean over the seeds, on the selection half."""
        return math.fsum(trial.user_attrs[AUC] for trial in self.trials) / len(self.trials)

    @property
    def seconds(self) -> float:
        """The time of a trial."""
        return math.fsum(trial.user_attrs[SECONDS] for trial in self.trials) / len(self.trials)


def candidates(study: Study) -> list[Candidate]:
    """Return all recipes with a complete trial, that of the lowest log loss first."""
    return _ranked(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def choose(study: Study) -> Candidate | None:
    """Return the recipe of the lowest log loss among those with the most seeds; None if no trial is complete."""
    found = candidates(study)
    most = max((len(each.trials) for each in found), default=0)
    return next((each for each in found if len(each.trials) == most), None)


def finalists(study: Study) -> list[Candidate]:
    """Return the best recipes by their first trials alone, so that further ones do not change them."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return _ranked(trial for trial in complete if FINAL not in trial.user_attrs)[:FINALISTS]


def seeds_for(found: list[Candidate], seconds: float) -> int:
    """Return with how many more seeds the finalists can be trained in TIME_FRACTION of a search of so many seconds."""
    once = math.fsum(each.seconds for each in found)
    return min(int(TIME_FRACTION * seconds / once), MORE_SEEDS) if once else 0


def seconds_for(found: list[Candidate], seconds: float) -> float:
    """Return the seconds that those trials will take."""
    return seeds_for(found, seconds) * math.fsum(each.seconds for each in found)


def enqueue_final(study: Study, seconds: float) -> bool:
    """Let the next trial of a finalist with another seed wait; return whether there is one."""
    found = finalists(study)
    have = {(_key(trial.params), trial.user_attrs.get(FINAL)) for trial in begun(study)}
    for more in range(1, seeds_for(found, seconds) + 1):
        for each in found:
            if (_key(each.values), more) not in have:
                study.enqueue_trial(each.values, user_attrs={FINAL: more})
                return True
    return False


def _ranked(trials):
    """Return the Candidates of complete trials, that of the lowest log loss first."""
    groups = {}
    for trial in trials:
        groups.setdefault(_key(trial.params), []).append(trial)
    return sorted((Candidate(each[0].params, tuple(each)) for each in groups.values()), key=lambda each: each.log_loss)


def _key(values):
    return json.dumps(values, sort_keys=True)
