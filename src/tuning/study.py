# SPDX-License-Identifier: Apache-2.0
"""The journal of a search: an Optuna study in a file, which survives a kill at any moment."""

import os
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from src.common.errors import UserError

JOURNAL_NAME = "journal.log"
STUDY_NAME = "tune"
SETTINGS = "settings"  # an attribute of the study
# The attributes of a trial; FINAL: of the trials of a finalist after its first one, their number.
RECIPE, FINAL, SEED, SECONDS, AUC, EPOCHS, REASON = "recipe", "final", "seed", "seconds", "auc", "epochs", "reason"
INTERRUPTED = "interrupted"  # a reason
ENQUEUED = "fixed_params"  # optuna's attribute of a trial that has waited
STARTUP_TRIALS = 12  # those before the sampler learns from results; the recipes are among them
# A trial is pruned if its lowest log loss is above that of three quarters of the others at the same validation.  Not in
# the first two epochs: strong penalties and long schedules are behind there that are ahead at the end.
PRUNED_ABOVE, UNPRUNED_TRIALS, UNPRUNED_VALIDATIONS = 75.0, 5, 5


def open_study(folder: os.PathLike | str, settings: Mapping[str, Any]) -> Study:
    """Return the study in a folder, a new one if there is none.

    settings: by name, all that the trials have in common; UserError if those of the study differ.
    Trials that a kill has interrupted are failed, and come again: the next trials are theirs.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = pathlib.Path(folder, JOURNAL_NAME)
    _clean_up(path)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(path))),
            study_name=STUDY_NAME,
            direction="minimize",
            pruner=optuna.pruners.PercentilePruner(PRUNED_ABOVE, UNPRUNED_TRIALS, UNPRUNED_VALIDATIONS),
            load_if_exists=True,
        )
        _check_settings(study, dict(settings), folder)
    except (ValueError, KeyError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is damaged ({error}); start anew with --overwrite=True") from error
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        restart(study, trial)
    return study


def restart(study: Study, trial: FrozenTrial) -> None:
    """Fail a trial that a kill has interrupted, and let the same values come again.

    Those that the sampler has drawn come by themselves, as it draws the same again; a kill may have left some of them.
    """
    values = trial.system_attrs.get(ENQUEUED)
    if values is not None and not waiting(study):  # one that waits is this one: an earlier kill came before tell()
        kept = {key: trial.user_attrs[key] for key in (RECIPE, FINAL) if key in trial.user_attrs}
        study.enqueue_trial(values, user_attrs=kept)
    optuna.Trial(study, trial._trial_id).set_user_attr(REASON, INTERRUPTED)
    study.tell(trial.number, state=TrialState.FAIL)


def ask(
    study: Study, distributions: Mapping[str, Any], first_trials: Mapping[str, Mapping[str, Any]], seed: int
) -> optuna.Trial:
    """Return the next trial: of values that wait, then of first_trials, by name, then new ones.

    New values depend on the seed and on the trials before them, without those that were interrupted: a search that is
    killed and resumed has the trials of one that is not.
    """
    number = len(begun(study))
    if not waiting(study) and number < len(first_trials):
        name, values = list(first_trials.items())[number]
        study.enqueue_trial(dict(values), user_attrs={RECIPE: name})
    is_without_values = any(trial.system_attrs[ENQUEUED] == {} for trial in waiting(study)[:1])
    study.sampler = _sampler(seed, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return study.ask({} if is_without_values else dict(distributions))


def waiting(study: Study) -> list[FrozenTrial]:
    """Return the trials that wait, in the order in which they come."""
    return study.get_trials(deepcopy=False, states=(TrialState.WAITING,))


def begun(study: Study) -> list[FrozenTrial]:
    """Return the trials that have begun, without those that were interrupted and come again."""
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state != TrialState.WAITING and each.user_attrs.get(REASON) != INTERRUPTED]


def seconds_spent(study: Study) -> float:
    """Return the seconds that all trials have taken, those of earlier runs of the search and interrupted ones too."""
    return sum(trial.user_attrs.get(SECONDS, 0.0) for trial in study.get_trials(deepcopy=False))


def _sampler(seed, number):
    """Return the sampler of a trial, which has no state from one trial to the next."""
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # In groups, as the settings could not be drawn jointly otherwise once a trial, the start, is without values.
        return optuna.samplers.TPESampler(n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, seed=own_seed)


def _check_settings(study, settings, folder):
    earlier = study.user_attrs.get(SETTINGS)
    if earlier is None:
        study.set_user_attr(SETTINGS, settings)
        return
    for name, value in settings.items():
        if earlier.get(name) != value:
            raise UserError(f"{name} is {value}: the search in {folder} has {earlier.get(name)}")


def _clean_up(path):
    """Remove what a kill has left: optuna's lock, as only one search has the folder, and a part of the last line."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
