# SPDX-License-Identifier: Apache-2.0
"""The loop of training: steps, looks at the valid split, checkpoints; it can stop and go on at any step."""

import dataclasses
import time

from src.checkpoint import find_checkpoint, load_into
from src.common.errors import UserError
from src.common.progress import epoch_and_step
from src.common.signals import Stopped
from src.deepfm import DeepFMPredict
from src.distributed.process_group import AgreedStop
from src.evaluation.evaluate import score_split


@dataclasses.dataclass(frozen=True)
class TrainPlan:
    """How long to train and when to do what; 0 stands for never, but for eval_every_steps.

    eval_every_steps: steps between looks at valid; 0 for one at the end of each epoch.
    early_stop_patience: looks in a row without improvement after which training ends.
    """

    epochs: int
    steps_per_epoch: int
    eval_every_steps: int = 0
    early_stop_patience: int = 0
    save_checkpoint_steps: int = 0
    save_checkpoint_seconds: float = 0

    @property
    def total_steps(self):
        return self.epochs * self.steps_per_epoch


@dataclasses.dataclass
class TrainState:
    """How far a run is: together with the parameters of the train step, all that it takes to go on.

    step: steps done, of rows_per_step rows, steps_per_epoch of them an epoch.  looked_at: the step of the last look at
    valid.  decays, looks_without_gain: looks that brought no improvement, in all and in a row.  best_log_loss: on
    valid.  log_sizes: of the logs, in bytes.  history: a dict for each look, or each epoch if there is no valid split.
    unlogged_loss: that of the last step if it should be in the loss log, which could not be written; else None.
    """

    step: int = 0
    rows_per_step: int = 0
    steps_per_epoch: int = 0
    looked_at: int = 0
    decays: int = 0
    looks_without_gain: int = 0
    best_log_loss: float | None = None
    log_sizes: list = dataclasses.field(default_factory=list)
    history: list = dataclasses.field(default_factory=list)
    unlogged_loss: float | None = None

    def to_dict(self):
        """Return the fields for JSON, without unlogged_loss if there is none."""
        fields = dataclasses.asdict(self)
        if self.unlogged_loss is None:
            del fields["unlogged_loss"]
        return fields

    def in_steps_of(self, rows_per_step, steps_per_epoch):
        """Return the state counted in other steps, as of another number of ranks; part of a step counts as not done."""

        def convert(step):
            epochs, in_epoch = divmod(step, self.steps_per_epoch or steps_per_epoch)
            done = in_epoch * self.rows_per_step // rows_per_step
            return epochs * steps_per_epoch + min(done, steps_per_epoch)

        others = {"rows_per_step": rows_per_step, "steps_per_epoch": steps_per_epoch}
        return dataclasses.replace(self, step=convert(self.step), looked_at=convert(self.looked_at), **others)


class Trainer:
    """Train by a plan from a state on.

    train_step: a TrainStep.  rate: a LearningRate.  valid_data: a dataset, or None.  folder: a ModelFolder.
    logs: a TrainLogs.  record: a RunRecord.  signals: a StopSignals.
    ranks: the ProcessGroup that trains together; all ranks do the same, and the first one writes.  after_save: to be
    called by that one after each checkpoint.
    """

    def __init__(
        self, train_step, rate, plan, state, valid_data, folder, logs, record, signals, ranks, after_save=None
    ):
        self._train_step, self._rate, self._plan, self._state = train_step, rate, plan, state
        self._valid_data, self._folder, self._logs = valid_data, folder, logs
        self._record, self._ranks = record, ranks
        self._after_save = after_save or (lambda: None)
        self._stop = AgreedStop(signals, ranks)
        self._predictor = DeepFMPredict(train_step.averaged)  # made once, as it is compiled at its first use
        train_step.set_train()
        self._saved_time = time.monotonic()
        self._saved_step = state.step if folder.checkpoints else None

    def fit(self, train_data):
        """Run the steps that are left.

        On Stopped all that was done is in a checkpoint; on OSError too, if a checkpoint can still be written.
        """
        self._stop.begin()
        self._logs.start(self._state.step)
        try:
            self._log_unlogged_loss()
            self._look_if_due()  # an earlier run may have been stopped between a step and its look
            if not self._is_over():
                self._run_epochs(train_data)
        except Stopped:
            self._save_if_unsaved()
            self._ranks.barrier()  # a launcher may end the others as soon as one has ended
            raise
        except OSError as error:
            raise OSError(f"{error}; {self._rescue()}") from error
        finally:
            self._logs.close()

    def score_best(self):
        """Return the ScoredSplit of valid, and the Checkpoint that is the best one; the network gets its weights.

        The split is None if there is none.
        """
        self._ranks.barrier()  # until the first one has saved the last checkpoint
        saved = find_checkpoint(self._folder.path)
        if self._valid_data is None:
            return None, saved
        load_into(self._predictor.network, saved.path)
        return self._score_valid(), saved

    def _run_epochs(self, train_data):
        train_data.set_init_step(self._state.step)
        batches = train_data.create_tuple_iterator(num_epochs=self._plan.epochs)
        for _ in range(self._state.step // self._plan.steps_per_epoch, self._plan.epochs):
            for batch in batches:
                self._run_step(batch)
                if self._is_over():
                    return

    def _run_step(self, batch):
        state = self._state
        rate = self._rate.at(state.step, state.decays)
        self._train_step.set_learning_rate(rate)
        loss = self._train_step(*batch)
        state.step += 1
        if self._logs.is_due(state.step):
            loss = self._ranks.mean(loss)
            self._record.add_loss(self._epochs_done, loss, rate)
            self._log_loss(loss, rate)
        self._logs.add_step()
        self._stop.check()
        if not self._look_if_due() and self._is_save_due():
            self._save()

    def _log_loss(self, loss, rate):
        self._state.unlogged_loss = loss
        self._logs.add_loss(self._state.step, loss, rate)
        self._state.unlogged_loss = None

    def _log_unlogged_loss(self):
        state = self._state
        if state.unlogged_loss is not None:
            self._log_loss(state.unlogged_loss, self._rate.at(state.step - 1, state.decays))

    @property
    def _epochs_done(self):
        return self._state.step / self._plan.steps_per_epoch

    def _is_over(self):
        patience = self._plan.early_stop_patience
        return self._state.step >= self._plan.total_steps or 0 < patience <= self._state.looks_without_gain

    def _is_save_due(self):
        plan, step = self._plan, self._state.step
        steps, seconds = plan.save_checkpoint_steps, plan.save_checkpoint_seconds
        return (steps and step % steps == 0) or (seconds and time.monotonic() - self._saved_time >= seconds)

    def _look_if_due(self):
        """At the steps for it save, and score the valid split if there is one; return whether it was such a step.

        The checkpoint comes first, so that nothing that fails later loses the work; its entry in model.json gets the
        scores afterwards.
        """
        state, plan = self._state, self._plan
        every = plan.eval_every_steps or plan.steps_per_epoch
        is_due = state.step % every == 0 or state.step % plan.steps_per_epoch == 0
        if not is_due or state.step == state.looked_at:
            return False
        self._save_if_unsaved(is_validated=False)
        scores = self._score() if self._valid_data is not None else {}
        state.looked_at = state.step
        epoch, _ = epoch_and_step(state.step, plan.steps_per_epoch)
        rate = self._rate.at(state.step - 1, state.decays)
        state.history.append(
            {
                "epoch": epoch,
                "step": state.step,
                "epochs_done": self._epochs_done,
                "learning_rate": rate,
                "valid": scores,
            }
        )
        if scores and (state.best_log_loss is None or scores["log_loss"] < state.best_log_loss):
            state.best_log_loss, state.looks_without_gain = scores["log_loss"], 0
        elif scores:
            state.looks_without_gain += 1
            state.decays += 1
        self._update_saved(scores)
        return True

    def _score_valid(self):
        return score_split("valid", self._predictor, self._valid_data, self._ranks, self._stop.check)

    def _score(self):
        scores = self._score_valid().scores
        try:
            self._logs.add_look(self._state.step, scores)
        except UserError:  # they are not finite
            if self._ranks.is_first:
                self._folder.remove_last()
            raise
        return {
            "auc": scores["AUC"],
            **{name: scores[name] for name in ("log_loss", "normalised_entropy", "calibration")},
        }

    def _save_if_unsaved(self, is_validated=True):
        """Save unless the last checkpoint is of this step; to write that again would put it at risk."""
        if self._saved_step != self._state.step:
            self._save(is_validated)

    def _save(self, is_validated=True):
        self._saved_time = time.monotonic()
        if self._ranks.is_first:
            self._state.log_sizes = self._logs.sizes()
            place = epoch_and_step(self._state.step, self._plan.steps_per_epoch)
            self._record.write(self._state)  # first: what it has too much can be cut off
            self._folder.save(self._train_step, *place, {}, self._state.to_dict(), is_validated=is_validated)
            self._after_save()
        self._saved_step = self._state.step

    def _update_saved(self, scores):
        """Note in the last checkpoint's entry of model.json what came after it was saved."""
        if self._ranks.is_first:
            self._state.log_sizes = self._logs.sizes()
            self._record.write(self._state)
            self._folder.update_last(scores, self._state.to_dict())
            self._after_save()

    def _rescue(self):
        """Save what an error has kept from being saved, if that is possible; return how to continue."""
        try:
            if self._state.step:
                self._save_if_unsaved()
        except OSError:
            pass  # the error that is reported came first
        if not self._folder.checkpoints:
            return "no checkpoint could be written"
        last = self._folder.checkpoints[-1].path
        return f"the last checkpoint is {last}, from which the same command with --resume=True continues"
