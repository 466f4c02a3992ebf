# SPDX-License-Identifier: Apache-2.0
"""How a training went, from its run.json."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LoggedLoss:
    """The loss of a training step, L2 regularisation included, its learning rate, and the epochs done after it."""

    epochs: float
    loss: float
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Validation:
    """Metrics on the validation split after so many epochs."""

    epochs: float
    auc: float
    log_loss: float


@dataclasses.dataclass(frozen=True)
class TrainingHistory:
    """The logged losses and the validations of a run, both in the order of the steps."""

    losses: tuple[LoggedLoss, ...]
    validations: tuple[Validation, ...]

    @classmethod
    def of_run(cls, run: dict) -> "TrainingHistory":
        """Take it from the content of run.json; without validation split the entries of its history have no metrics."""
        validated = [entry for entry in run.get("history", ()) if entry["valid"]]
        return cls(
            losses=tuple(LoggedLoss(*entry) for entry in run.get("losses", ())),
            validations=tuple(
                Validation(entry["epochs_done"], entry["valid"]["auc"], entry["valid"]["log_loss"])
                for entry in validated
            ),
        )

    @property
    def best(self) -> Validation:
        """The first validation of the lowest log loss, which chooses the checkpoint."""
        return min(self.validations, key=lambda validation: validation.log_loss)
