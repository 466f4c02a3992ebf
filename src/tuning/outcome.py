# SPDX-License-Identifier: Apache-2.0
"""The outcome of a search: the recipe that it has chosen, and how far its scores can be trusted."""

import dataclasses

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from src.common.errors import UserError
from src.config import Config
from src.evaluation.metrics import log_loss
from src.tuning.finalists import Candidate, choose
from src.tuning.optimism import Optimism, auc_optimism, log_loss_optimism
from src.tuning.predictions import HELD_OUT, SELECTION, PredictionFiles
from src.tuning.search_space import SearchSpace
from src.tuning.study import REASON, RECIPE, begun, seconds_spent


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The trials that have ended, the chosen Candidate and its Config, and the metrics on both halves.

    held_out: the log loss on the held-out half, by the number of a complete trial.  rows: of the selection half and of
    the held-out half.
    """

    study: Study
    space: SearchSpace
    trials: list[FrozenTrial]
    chosen: Candidate
    config: Config
    auc: Optimism
    log_loss: Optimism
    held_out: dict[int, float]
    rows: tuple[int, int]
    seconds: float

    @classmethod
    def of(cls, study: Study, space: SearchSpace, files: PredictionFiles) -> "Outcome":
        """Choose a recipe by the selection half, and only then score it on the held-out half.

        Raises UserError if no trial is complete.
        """
        trials = begun(study)
        chosen = choose(study)
        if chosen is None:
            reasons = {trial.user_attrs[REASON] for trial in trials if REASON in trial.user_attrs}
            raise UserError(
                f"none of {len(trials)} trials is complete: {'; '.join(sorted(reasons))}; more --minutes help "
                "if trials take too long"
            )
        predictions = {trial.number: files.load(trial.number) for trial in trials if is_complete(trial)}
        own = [predictions[trial.number] for trial in chosen.trials]
        # The first trials were chosen without the validation set, and the first ones are not pruned by it either.
        first = [predictions[each.number] for each in trials if RECIPE in each.user_attrs and is_complete(each)]
        sizes = len(own[0].half(SELECTION).labels), len(own[0].half(HELD_OUT).labels)
        held_out = {number: log_loss(*each.half(HELD_OUT).columns) for number, each in predictions.items()}
        return cls(
            study, space, trials, chosen, space.config_of(chosen.values), auc_optimism(own, first),
            log_loss_optimism(own, first), held_out, sizes, seconds_spent(study),
        )  # fmt: skip

    def count(self, state: TrialState) -> int:
        """Return the number of trials that have ended so."""
        return sum(trial.state == state for trial in self.trials)


def is_complete(trial: FrozenTrial) -> bool:
    """Tell whether a trial has ended with a result."""
    return trial.state == TrialState.COMPLETE
