# SPDX-License-Identifier: Apache-2.0
"""The importance of the settings of a search."""

import optuna
from optuna.study import Study

from src.tuning.finalists import candidates
from src.tuning.search_space import SearchSpace

FEWEST_TRIALS = 10  # below, an importance is chance


def importances_of(study: Study, space: SearchSpace) -> dict[str, float]:
    """Return for each setting the fraction of the variance of the log loss that it explains, the largest first.

    By fANOVA (Hutter et al., ICML 2014) over the recipes with a complete trial; {} if there are few, or if all are
    alike.
    """
    found = [each for each in candidates(study) if each.values]
    if len(found) < FEWEST_TRIALS or found[0].log_loss == found[-1].log_loss:
        return {}
    plain = optuna.create_study()
    plain.add_trials(
        optuna.trial.create_trial(params=each.values, distributions=space.distributions, value=each.log_loss)
        for each in found
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(plain, evaluator=evaluator)
