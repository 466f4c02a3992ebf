# SPDX-License-Identifier: Apache-2.0
import hashlib
import json
import signal

import mindspore as ms
import numpy as np
import pytest
from mindspore.train._utils import _get_types_and_shapes

from src.callback import Callback
from src.checkpoint import ModelFolder
from src.common.signals import Stopped
from src.dataset_meta import DatasetMeta
from src.training.feeder import IteratorFeeder, SinkFeeder, choose_feeder
from src.training.training_data import TrainingData
from tests.sinking import Device
from tests.training import BATCH_SIZE, Training, lines_of, untrained

pytestmark = pytest.mark.usefixtures("seeded")
# Two epochs of 20 steps; all that happens happens at multiples of four steps.
PLAN = {"epochs": 2, "schedule": ("one_cycle", 0.01), "eval_every": 12, "save_every": 8, "log_every": 4}


@pytest.fixture
def device(monkeypatch):
    device = Device()
    device.replace(monkeypatch)
    return device


def outcome(training):
    """Return what a training leaves: digests of its checkpoints, and its logs without times."""
    folder = training.path / "ckpt"
    record = json.loads((folder / "run.json").read_text())
    auc = [line.split(", eval_time")[0] for line in lines_of(training.path / "auc.log")]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.ckpt"))}
    return digests, lines_of(training.path / "loss.log"), auc, record["losses"], record["history"]


@pytest.fixture(scope="module")
def expected(cpu, dataset, tmp_path_factory):
    """The outcome of a training on the CPU, one step after the other."""
    from src.distributed.device import set_seed

    set_seed(1)
    result = outcome(Training(dataset, tmp_path_factory.mktemp("single"), **PLAN).fit())
    assert len(result[0]) == 8  # after 8, 12, 16, 20, 24, 32, 36 and 40 steps
    return result


class Observer(Callback):
    """Notes what callbacks see; `also` is called at the end of each block with its last step."""

    def __init__(self, also=lambda step: None):
        self.begun, self.ended, self.batches, self._also = [], [], [], also

    def on_train_step_begin(self, run_context):
        params = run_context.original_args()
        self.begun.append(params.cur_step_num)
        self.batches.append(params.train_dataset_element)

    def on_train_step_end(self, run_context):
        params = run_context.original_args()
        self.ended.append((params.cur_step_num, params.steps_done, params.sink_size, params.dataset_sink_mode))
        self._also(params.cur_step_num)


@pytest.mark.parametrize("sink_size", [2, 4])
def test_on_the_cpu_blocks_of_steps_leave_what_single_steps_leave(expected, dataset, tmp_path, sink_size):
    observer = Observer()
    training = Training(dataset, tmp_path, sink_size=sink_size, callbacks=[observer], **PLAN).fit()
    assert outcome(training) == expected
    ends = list(range(sink_size, 41, sink_size))
    assert observer.begun == ends
    assert observer.ended == [(step, step, sink_size, False) for step in ends]
    assert observer.batches == [None] * len(ends)


@pytest.mark.parametrize("sink_size", [1, 4])
def test_sinking_leaves_what_the_iterator_leaves(expected, device, dataset, tmp_path, sink_size):
    observer = Observer()
    training = Training(dataset, tmp_path, sink_size=sink_size, feeder=SinkFeeder, callbacks=[observer], **PLAN).fit()
    assert outcome(training) == expected
    assert device.blocks == [sink_size] * (40 // sink_size)
    assert observer.ended == [(step, step, sink_size, True) for step in range(sink_size, 41, sink_size)]
    assert observer.batches == [None] * (40 // sink_size)
    assert device.events == ["stop_send", "release"]


@pytest.mark.parametrize(("sink_size", "after"), [(1, 13), (4, 12), (4, 20), (4, 28)])
def test_sinking_stopped_by_a_signal_resumes_exactly(expected, device, dataset, tmp_path, sink_size, after):
    def send(step):
        if step == after:
            training.signals.number = signal.SIGTERM  # as StopSignals notes it

    training = Training(dataset, tmp_path, sink_size=sink_size, feeder=SinkFeeder, callbacks=[Observer(send)], **PLAN)
    with pytest.raises(Stopped):
        training.fit()
    assert ModelFolder.load(tmp_path / "ckpt").checkpoints[-1].state["step"] == after
    assert device.events == ["stop_send", "release"]
    resumed = Training(dataset, tmp_path, sink_size=sink_size, feeder=SinkFeeder, **PLAN).resume()
    digests, *logs = outcome(resumed)
    assert expected[0].items() <= digests.items()
    assert logs == list(expected[1:])
    assert device.events == ["stop_send", "release"] * 2


class Failure(Exception):
    """No error of training."""


def test_an_exception_ends_the_sender(device, dataset, tmp_path):
    def fail(step):
        raise Failure

    training = Training(dataset, tmp_path, sink_size=4, feeder=SinkFeeder, callbacks=[Observer(fail)], **PLAN)
    with pytest.raises(Failure):
        training.fit()
    assert device.blocks == [4]
    assert device.events == ["stop_send", "release"]


@pytest.fixture
def fed(dataset):
    """A train step and the training set."""
    data = DatasetMeta.load(dataset)
    return untrained(data.vocabulary_size)[0], TrainingData(data, BATCH_SIZE, 1)


@pytest.mark.parametrize("step", [0, 7, 20])
def test_a_single_step_has_its_batch(fed, dataset, step):
    with IteratorFeeder(*fed, step, 2, 1) as feeder:
        epochs = [20 - step % 20, 20][: 2 - step // 20]
        fed_ids = [block.batch[0].asnumpy() for count in epochs for block in feeder.blocks(count)]
    everything = TrainingData(DatasetMeta.load(dataset), BATCH_SIZE, 1).from_step(0, 2)
    expected = [ids for ids, *_ in everything.create_tuple_iterator(num_epochs=1, output_numpy=True)][step:]
    assert np.array_equal(fed_ids, expected)
    assert not np.array_equal(fed_ids[0], fed_ids[1])


def test_the_device_is_told_the_types_and_shapes_of_the_batches(fed):
    # MindSpore compiles GetNext for these; a batch of others would end a training on a device.
    dataset = fed[1].from_step(7, 2)
    types, shapes = _get_types_and_shapes(dataset)
    (batch,) = dataset.take(1).create_tuple_iterator(num_epochs=1)
    assert [tuple(shape) for shape in shapes] == [column.shape for column in batch]
    assert types == [column.dtype for column in batch] == [ms.int32, ms.float32, ms.float32]


def test_mindspore_refuses_to_sink_on_a_cpu_which_is_fed_by_the_iterator(fed):
    with pytest.raises(RuntimeError, match="dataset sink mode is not supported when the device target is CPU"):
        SinkFeeder(*fed, 0, 1, 1)
    assert [choose_feeder(target, 1) for target in ("CPU", "GPU", "Ascend")] == [IteratorFeeder, SinkFeeder, SinkFeeder]
    assert [choose_feeder(target, 0) for target in ("CPU", "GPU", "Ascend")] == [IteratorFeeder] * 3


@pytest.mark.parametrize(("step", "block_size"), [(0, 3), (2, 4)])
@pytest.mark.parametrize("feeder", [IteratorFeeder, SinkFeeder])
def test_blocks_that_do_not_fit_the_steps_of_an_epoch_are_an_error(dataset, feeder, step, block_size):
    data = TrainingData(DatasetMeta.load(dataset), BATCH_SIZE, 1)
    with pytest.raises(ValueError, match=f"blocks of {block_size} do not fit 20 batches from {step} on"):
        feeder(None, data, step, 1, block_size)
