# SPDX-License-Identifier: Apache-2.0
import json
import signal

import mindspore as ms
import mindspore.train
import numpy as np
import pytest

from src.callback import Callback, EarlyStopping, LossLog
from src.checkpoint import ModelFolder
from src.common.signals import Stopped
from src.distributed.process_group import ProcessGroup
from src.training.trainer import Trainer, converted_step, with_names
from tests.training import Training, lines_of

pytestmark = pytest.mark.usefixtures("seeded")


class Count(Callback):
    """Counts the calls of each hook; `also` is called at the end of each step with the run context."""

    def __init__(self, also=None):
        self.calls, self._also = [], also

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state, *, in_place):
        self.calls = list(state["calls"])

    def on_train_step_end(self, run_context):
        params = run_context.original_args()
        if self._also is not None:
            self._also(run_context)
        self.calls.append(params.cur_step_num)

    def on_train_epoch_end(self, run_context):
        self.calls.append(f"epoch {run_context.original_args().cur_epoch_num}")


class Trace(Callback):
    """Notes the order of all calls."""

    def __init__(self):
        self.calls = []

    def __enter__(self):
        self.calls.append("enter")
        return self

    def __exit__(self, *error):
        self.calls.append("exit")


for hook in ("on_train_begin", "on_train_epoch_begin", "on_train_step_begin", "on_train_step_end", "on_train_epoch_end",
             "on_train_end", "on_eval_begin", "on_eval_end", "before_save", "after_save"):  # fmt: skip

    def note(self, run_context, hook=hook):
        self.calls.append(hook)

    setattr(Trace, hook, note)


@pytest.fixture(scope="module")
def undisturbed(cpu, dataset, tmp_path_factory):
    """A training of two epochs, each with two validations, a learning rate that changes and checkpoints between."""
    from src.distributed.device import set_seed

    set_seed(1)
    counter = Count()
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"), callbacks=[counter], **PLAN).fit()
    return training, counter.calls


PLAN = {"epochs": 2, "schedule": ("one_cycle", 0.01), "eval_every": 12, "save_every": 5, "log_every": 3}


def outcome(training, counter):
    """Return what must not depend on interruptions."""
    weights = ms.load_checkpoint(str(training.folder.checkpoints[-1].path))
    record = json.loads((training.path / "ckpt" / "run.json").read_text())
    auc = [line.split(", eval_time")[0] for line in lines_of(training.path / "auc.log")]
    return counter.calls, lines_of(training.path / "loss.log"), auc, record["losses"], record["history"], weights


def assert_same(got, expected):
    *got, weights = got
    *expected, expected_weights = expected
    assert got == expected
    assert weights.keys() == expected_weights.keys()
    for name, weight in weights.items():
        assert np.array_equal(weight.asnumpy(), expected_weights[name].asnumpy()), name


def test_the_hooks_come_in_the_order_of_the_documentation(dataset, tmp_path):
    trace = Trace()
    Training(dataset, tmp_path, callbacks=[trace], eval_every=19).fit()
    step = ["on_train_step_begin", "on_train_step_end"]
    validation = ["on_eval_begin", "before_save", "after_save", "on_eval_end", "before_save", "after_save"]
    epoch = ["on_train_epoch_begin", *step * 19, *validation, *step, *validation, "on_train_epoch_end"]
    assert trace.calls == ["enter", "on_train_begin", *epoch, "on_train_end", "exit"]


def test_each_step_has_the_learning_rate_that_the_schedule_gives_it(undisturbed):
    training, _ = undisturbed
    record = json.loads((training.path / "ckpt" / "run.json").read_text())
    steps = [3, 6, 9, 12, 15, 18, 20, 23, 26, 29, 32, 35, 38, 40]
    assert [rate for *_, rate in record["losses"]] == [training.schedule.at(step - 1) for step in steps]
    assert [each["learning_rate"] for each in record["history"]] == [
        training.schedule.at(each["step"] - 1) for each in record["history"]
    ]
    assert [each["step"] for each in record["history"]] == [12, 20, 24, 36, 40]
    assert [epochs for epochs, *_ in record["losses"]] == [step / 20 for step in steps]


def test_the_optimizer_has_the_learning_rate_of_the_step(dataset, tmp_path):
    used = []
    counter = Count(lambda run_context: used.append(float(run_context.original_args().optimizer.learning_rate)))
    training = Training(dataset, tmp_path, schedule=("one_cycle", 0.01), callbacks=[counter], has_validation=False)
    training.fit()
    assert used == pytest.approx([training.schedule.at(step) for step in range(20)], rel=1e-6)


@pytest.mark.parametrize("sink_size", [1, 5])
def test_the_host_reads_nothing_from_the_device_between_logged_steps(dataset, tmp_path, monkeypatch, sink_size):
    reads, steps = [], [0]

    class Steps(Callback):
        def on_train_step_begin(self, run_context):
            steps.append(run_context.original_args().cur_step_num)

    def train(folder):
        plan = {"schedule": ("one_cycle", 0.01), "sink_size": sink_size, "has_validation": False}
        (tmp_path / folder).mkdir()
        Training(dataset, tmp_path / folder, callbacks=[Steps()], **plan).fit()

    train("first")  # which compiles, and reads the parameters for that
    del steps[1:]
    asnumpy = ms.Tensor.asnumpy
    monkeypatch.setattr(ms.Tensor, "asnumpy", lambda tensor: reads.append(steps[-1]) or asnumpy(tensor))
    train("second")
    assert steps == list(range(0, 21, sink_size))
    assert set(reads) == {0, 10, 20}  # before the first step, and where the loss is logged


def test_validations_and_checkpoints_come_when_they_are_due(undisturbed):
    training, calls = undisturbed
    # Validations after 12, 24 and 36 steps in all and at the ends of the epochs; checkpoints there and every 5 steps.
    assert training.positions() == ["1_5", "1_10", "1_12", "1_15", "1_20", "2_4", "2_5", "2_10", "2_15", "2_16", "2_20"]
    validated = [each.file for each in training.folder.checkpoints if each.metrics]
    assert validated == [f"deepfm-{position}.ckpt" for position in ("1_12", "1_20", "2_4", "2_16", "2_20")]
    assert calls == [*range(1, 21), "epoch 1", *range(21, 41), "epoch 2"]


class Interruption(Exception):
    """No error of training."""


def interrupted(dataset, folder, after, error, plan=None):
    """Train until a callback raises an error in its call after a step; return a new Training to resume it."""

    def fail(run_context):
        if run_context.original_args().cur_step_num == after:
            raise error

    counter = Count(fail)
    training = Training(dataset, folder, callbacks=[counter], **(plan or PLAN))
    with pytest.raises(type(error)) as caught:
        training.fit()
    resumed = Count()
    return Training(dataset, folder, callbacks=[resumed], **(plan or PLAN)), resumed, caught.value


@pytest.mark.parametrize("after", [20, 23])
def test_a_step_that_an_error_of_writing_interrupted_is_saved_and_its_calls_are_made_up_for(
    undisturbed, dataset, tmp_path, after
):
    expected, calls = undisturbed
    training, counter, error = interrupted(dataset, tmp_path, after, OSError(28, "No space left", "own.log"))
    last = tmp_path / "ckpt" / f"deepfm-{1 + after // 21}_{(after - 1) % 20 + 1}.ckpt"
    assert str(error) == (
        f"[Errno 28] No space left: 'own.log'; the last checkpoint is {last}, from which the same command with "
        "--resume=True continues"
    )
    state = ModelFolder.load(tmp_path / "ckpt").checkpoints[-1].state
    assert state["step"] == after
    assert state["pending"][0] == ["on_train_step_end", "Count"]
    assert ["on_train_step_end", "LossLog"] not in state["pending"]
    training.resume()
    assert_same(outcome(training, counter), outcome(expected, type("Expected", (), {"calls": calls})))


def test_an_error_of_another_kind_costs_the_steps_since_the_last_checkpoint_and_no_more(undisturbed, dataset, tmp_path):
    expected, calls = undisturbed
    training, counter, _ = interrupted(dataset, tmp_path, 24, Interruption())
    assert ModelFolder.load(tmp_path / "ckpt").checkpoints[-1].state["step"] == 20
    training.resume()
    assert_same(outcome(training, counter), outcome(expected, type("Expected", (), {"calls": calls})))


@pytest.mark.parametrize("after", [12, 13])
def test_a_signal_stops_after_the_step_and_a_validation_that_is_due_is_made_up_for(
    undisturbed, dataset, tmp_path, after
):
    expected, calls = undisturbed

    def send(run_context):
        if run_context.original_args().cur_step_num == after:
            training.signals.number = signal.SIGTERM  # as StopSignals notes it

    training = Training(dataset, tmp_path, callbacks=[Count(send)], **PLAN)
    with pytest.raises(Stopped):
        training.fit()
    assert training.trainer.steps_done == ModelFolder.load(tmp_path / "ckpt").checkpoints[-1].state["step"] == after
    assert (tmp_path / "auc.log").exists() is (after > 12)
    counter = Count()
    resumed = Training(dataset, tmp_path, callbacks=[counter], **PLAN).resume()
    assert_same(outcome(resumed, counter), outcome(expected, type("Expected", (), {"calls": calls})))


def test_resuming_a_finished_run_changes_no_file(dataset, tmp_path):
    counter = Count()
    Training(dataset, tmp_path, callbacks=[counter]).fit()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = Count()
    Training(dataset, tmp_path, callbacks=[again]).resume()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    assert again.calls == counter.calls  # the end of the epoch came after the last checkpoint


def test_a_callback_that_asks_for_it_ends_training_after_the_step_which_is_saved(dataset, tmp_path):
    def stop(run_context):
        if run_context.original_args().cur_step_num == 7:
            run_context.request_stop()

    counter = Count(stop)
    training = Training(dataset, tmp_path, epochs=2, callbacks=[counter]).fit()
    assert counter.calls == list(range(1, 8))
    assert training.positions() == ["1_7"]
    resumed = Count()
    Training(dataset, tmp_path, epochs=2, callbacks=[resumed]).resume()
    assert resumed.calls == [*range(1, 21), "epoch 1", *range(21, 41), "epoch 2"]


def test_without_improvement_training_ends_after_the_patience(dataset, tmp_path):
    # A learning rate of 0 changes nothing: the first validation is the best, the two that follow bring nothing.
    training = Training(dataset, tmp_path, epochs=9, schedule=("plateau", 0.0), patience=2).fit()
    assert training.positions() == ["1_20", "2_20", "3_20"]
    assert training.state_of("EarlyStopping") == {"without_improvement": 2}
    assert training.state_of("LearningRateScheduler") == {"plateau_count": 2}
    assert training.folder.best.file == "deepfm-1_20.ckpt"


def test_with_improvement_training_continues_to_the_end(dataset, tmp_path):
    training = Training(dataset, tmp_path, epochs=3, patience=1).fit()
    history = json.loads((tmp_path / "ckpt" / "run.json").read_text())["history"]
    log_losses = [each["valid"]["log_loss"] for each in history]
    assert log_losses == sorted(log_losses, reverse=True)
    assert training.state_of("Validation") == {"best_log_loss": log_losses[-1]}
    assert training.folder.best.metrics["log_loss"] == log_losses[-1]
    assert training.publications == [1, 1, 2, 2, 3, 3]  # after each checkpoint, and after its validation


def test_callbacks_of_mindspore_do_what_they_do_in_its_own_training(dataset, tmp_path, capsys):
    epochs, names = [], []

    def keep_names(run_context):
        callbacks = run_context.original_args().list_callback
        assert type(callbacks) is list  # SummaryCollector wants that
        names.extend(type(each).__name__ for each in callbacks)

    class Profile(mindspore.train.Callback):
        """Between two steps, as the callbacks that start and stop a profiler."""

        def __init__(self):
            super().__init__()
            self.spans = []

        def on_train_step_begin(self, run_context):
            if run_context.original_args().cur_step_num == 3:
                self.spans.append([3])

        def on_train_step_end(self, run_context):
            if run_context.original_args().cur_step_num == 5:
                self.spans[-1].append(5)

    history, profile = mindspore.train.History(), Profile()
    callbacks = [
        mindspore.train.TimeMonitor(data_time=True),
        mindspore.train.LossMonitor(5),
        mindspore.train.LambdaCallback(
            on_train_epoch_end=lambda run_context: epochs.append(run_context.original_args().cur_epoch_num),
            on_train_begin=keep_names,
        ),
        history,
        mindspore.train.EarlyStopping(monitor="log_loss", patience=3),
        profile,
    ]
    training = Training(dataset, tmp_path, epochs=2, log_every=1, callbacks=callbacks).fit()
    printed = capsys.readouterr().out.splitlines()
    logged = [float(line.rsplit(" ", 1)[1]) for line in lines_of(tmp_path / "loss.log")]
    monitored = [line for line in printed if re_match_loss(line)]
    assert [line.split(", ")[0] for line in monitored] == [
        f"epoch: {epoch} step: {step}" for epoch in (1, 2) for step in (5, 10, 15, 20)
    ]
    assert [float(line.rsplit(" ", 1)[1]) for line in monitored] == pytest.approx(logged[4::5], rel=1e-6)
    assert sum("Train epoch time: " in line and "per step time: " in line for line in printed) == 2
    assert epochs == history.epoch["epoch"] == [1, 2]
    assert history.history["net_output"] == pytest.approx([logged[19], logged[39]], rel=1e-6)
    assert history.history["auc"] == [each.metrics["auc"] for each in training.folder.checkpoints]
    assert profile.spans == [[3, 5]]
    assert names[names.index("TimeMonitor") :][:3] == ["TimeMonitor", "LossMonitor", "LambdaCallback"]


def re_match_loss(line):
    return line.startswith("epoch: ") and ", loss is " in line


def test_several_callbacks_of_one_class_have_names_of_their_own():
    callbacks = [LossLog("a"), EarlyStopping(1), LossLog("b"), LossLog("c")]
    assert with_names(callbacks) == dict(zip(("LossLog", "EarlyStopping", "LossLog-2", "LossLog-3"), callbacks))


def test_only_rank_zero_has_the_callbacks_that_write(dataset, tmp_path):
    class OfAll(Callback):
        def state_dict(self):
            return {"here": True}

    training = Training(dataset, tmp_path)
    second = ProcessGroup()
    second.rank = 1  # which changes nothing but who writes, as it has no others to wait for
    callbacks = [LossLog(tmp_path / "loss.log"), OfAll(), mindspore.train.TimeMonitor()]
    trainer = Trainer(training.train_step, 1, second, callbacks, 50)
    trainer.fit(training.train_data)
    assert list(trainer.state_dict()["callbacks"]) == ["OfAll"]
    assert not (tmp_path / "loss.log").exists()


def test_a_state_is_counted_in_the_steps_of_another_number_of_ranks():
    state = {"step": 24 + 7, "rows_per_step": 400, "steps_per_epoch": 12}
    assert converted_step(state, 400, 12) == 31
    assert converted_step(state, 200, 24) == 2 * 31
    # 2,800 rows of the third epoch are 3 complete steps of 800 rows, of which an epoch has 6.
    assert converted_step(state, 800, 6) == 2 * 6 + 3
    assert converted_step(state | {"step": 36}, 200, 24) == 72
