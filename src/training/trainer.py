# SPDX-License-Identifier: Apache-2.0
"""The training loop: it runs blocks of steps and calls the callbacks, which do everything else."""

import contextlib
from collections.abc import Sequence

import mindspore as ms
import mindspore.train

from src.callback import call_hook, has_hook
from src.common.signals import Stopped
from src.distributed.process_group import ProcessGroup
from src.training.feeder import Feeder, IteratorFeeder
from src.training.train_step import TrainStep
from src.training.training_data import TrainingData


class Parameters(dict):
    """The content of run_context.original_args(), a dict whose items are attributes too; docs/callbacks.md lists it."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value


class Trainer:
    """Trains for `epochs` epochs, from a state on.

    ranks: the processes that train together, all of which do the same.  callbacks: those of MindSpore or of
    src.callback; the order of the list is the order of the calls.  rows_per_step: of all ranks together.  log_every:
    steps between two losses that are logged.  feeder: the class that gives the steps their batches.

    The steps run in blocks of the optimizer's block_size.  The callbacks are called once per block, as if it were its
    last step: that is what they see, and all that they do must be due at the end of a block.
    """

    def __init__(
        self,
        train_step: TrainStep,
        epochs: int,
        ranks: ProcessGroup,
        callbacks: Sequence[ms.train.Callback],
        rows_per_step: int,
        log_every: int = 100,
        feeder: type[Feeder] = IteratorFeeder,
    ):
        self._train_step, self._epochs, self._ranks = train_step, epochs, ranks
        self._rows_per_step, self._log_every, self._feeder = rows_per_step, log_every, feeder
        self._callbacks = {
            name: each
            for name, each in with_names(callbacks).items()
            if ranks.is_first or not getattr(each, "rank_zero_only", False)
        }
        self._step_begin, self._step_end, self._epoch_end = (
            [(hook, name) for name, each in self._callbacks.items() if has_hook(each, hook)]
            for hook in ("on_train_step_begin", "on_train_step_end", "on_train_epoch_end")
        )
        # The calls (hook, name of the callback) that the last step still needs.
        self._pending: list[tuple[str, str]] = []
        self._params = Parameters(steps_done=0)
        self._context = mindspore.train.RunContext(self._params)

    def fit(self, train_data: TrainingData, state: dict | None = None, *, in_place: bool = False) -> None:
        """Run the steps that are left.

        state: that of the checkpoint whose weights train_step has; in_place: see Callback.load_state_dict.
        An exception ends the callbacks by their __exit__, without on_train_end.
        """
        self._set_parameters(train_data)
        if state is not None:
            self._load_state_dict(state, in_place)
        try:
            with contextlib.ExitStack() as stack:
                for callback in self._callbacks.values():
                    stack.enter_context(callback)
                call_hook("on_train_begin", self._context)
                self._finish_step()
                self._run_epochs(train_data)
                call_hook("on_train_end", self._context)
        except Stopped:
            self._ranks.barrier()  # a launcher may end the others as soon as one has ended
            raise

    @property
    def steps_done(self) -> int:
        """The number of steps whose update is complete, those of an earlier run included."""
        return self._params.steps_done

    def state_dict(self) -> dict:
        """Return, for JSON, all that resuming needs in addition to the parameters of the train step."""
        params = self._params
        return {
            "step": params.steps_done,
            "rows_per_step": params.rows_per_step,
            "steps_per_epoch": params.batch_num,
            "loss": params.loss,
            "learning_rate": params.learning_rate,
            "pending": [list(call) for call in self._pending],
            "callbacks": {
                name: state
                for name, callback in self._callbacks.items()
                if hasattr(callback, "state_dict") and (state := callback.state_dict())
            },
        }

    def _set_parameters(self, train_data):
        self._params.update(
            mode="train",
            train_network=self._train_step,
            network=self._train_step.network.network,
            optimizer=self._train_step.optimizer,
            loss_fn=None,
            parallel_mode="data_parallel" if self._ranks.count > 1 else "stand_alone",
            device_number=self._ranks.count,
            train_dataset=train_data,
            train_dataset_element=None,
            dataset_sink_mode=self._feeder is not IteratorFeeder,
            sink_size=self._train_step.optimizer.block_size,
            list_callback=list(self._callbacks.values()),
            epoch_num=self._epochs,
            batch_num=train_data.get_dataset_size(),
            rows_per_step=self._rows_per_step,
            cur_epoch_num=1,
            cur_step_num=0,
            steps_done=0,
            net_outputs=None,
            loss=None,
            learning_rate=None,
            metrics={},
            state_dict=self.state_dict,
        )

    def _load_state_dict(self, state, in_place):
        params = self._params
        step = converted_step(state, params.rows_per_step, params.batch_num)
        params.update(cur_step_num=step, steps_done=step, loss=state["loss"], learning_rate=state["learning_rate"])
        params.cur_epoch_num = max(step - 1, 0) // params.batch_num + 1
        self._pending = [(hook, name) for hook, name in state["pending"] if name in self._callbacks]
        for name, callback in self._callbacks.items():
            if name in state["callbacks"] and hasattr(callback, "load_state_dict"):
                callback.load_state_dict(state["callbacks"][name], in_place=in_place)

    def _run_epochs(self, train_data):
        params = self._params
        if self._is_over():
            return
        with self._feeder(self._train_step, train_data, params.steps_done, self._epochs, params.sink_size) as feeder:
            for epoch in range(params.steps_done // params.batch_num, self._epochs):
                params.cur_epoch_num = epoch + 1
                call_hook("on_train_epoch_begin", self._context)
                steps_left = params.batch_num - params.steps_done % params.batch_num
                for block in feeder.blocks(steps_left // params.sink_size):
                    self._run_block(block)
                    if self._is_over():
                        return

    def _is_over(self):
        return self._context.get_stop_requested() or self._params.steps_done >= self._epochs * self._params.batch_num

    def _run_block(self, block):
        params = self._params
        params.cur_step_num += params.sink_size
        params.train_dataset_element = block.batch
        for call in self._step_begin:
            self._make(*call)
        params.net_outputs = block.run()
        params.steps_done = params.cur_step_num
        step_in_epoch = params.cur_step_num % params.batch_num
        is_logged = step_in_epoch == 0 or step_in_epoch % self._log_every == 0
        params.loss = self._ranks.mean(params.net_outputs) if is_logged else None  # here, as all ranks must take part
        self._pending = self._step_end + (self._epoch_end if step_in_epoch == 0 else [])
        self._finish_step()

    def _finish_step(self):
        """Make the calls that end a step.

        Those that an exception has kept from being made, or that come after the saving of a checkpoint, are in its
        state, and are made when training resumes: so each callback sees each step exactly once.
        """
        while self._pending:
            self._make(*self._pending[0])
            del self._pending[0]

    def _make(self, hook, name):
        getattr(self._callbacks[name], hook)(self._context)


def with_names(callbacks: Sequence[ms.train.Callback]) -> dict[str, ms.train.Callback]:
    """Return callbacks by the names that they have in the state: of their classes, numbered where several are alike."""
    named = {}
    for callback in callbacks:
        name = unnumbered = type(callback).__name__
        number = 1
        while name in named:
            number += 1
            name = f"{unnumbered}-{number}"
        named[name] = callback
    return named


def converted_step(state: dict, rows_per_step: int, steps_per_epoch: int) -> int:
    """Return the step of a state counted in other steps, as of another number of ranks; part of a step is not done."""
    epochs, in_epoch = divmod(state["step"], state["steps_per_epoch"])
    done = in_epoch * state["rows_per_step"] // rows_per_step
    return epochs * steps_per_epoch + min(done, steps_per_epoch)
