# SPDX-License-Identifier: Apache-2.0
"""The messages of the process that trains the trials to the one that searches."""

import dataclasses

from src.tuning.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class Validated:
    """A validation of a trial: its metrics on the selection half.  The answer is whether the trial is to end."""

    epochs: float
    log_loss: float
    auc: float


@dataclasses.dataclass(frozen=True)
class Trained:
    """The end of a trial: the best of its validations, and the predictions at that moment for all validation rows."""

    best: Validated
    predictions: Predictions


@dataclasses.dataclass(frozen=True)
class Failed:
    """The end of a trial without a result, and its reason in a line.  is_late: it has only taken too long."""

    reason: str
    is_late: bool = False
