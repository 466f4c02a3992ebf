# SPDX-License-Identifier: Apache-2.0
"""A small training with all callbacks, wired as train.py does it, for the tests of its parts; train.py itself."""

import functools
import pathlib

import pytest
from mindspore.train import RunContext

import train
from src.callback import (
    EarlyStopping,
    LearningRateScheduler,
    LossLog,
    ProgressBar,
    StopOnSignal,
    TerminateOnNaN,
    Upload,
    ValidationLog,
)
from src.checkpoint import DataIdentity, ModelFolder
from src.common.signals import StopSignals
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.distributed.process_group import AgreedStop, ProcessGroup
from src.evaluation.evaluate import evaluate_split
from src.training.feeder import IteratorFeeder
from src.training.learning_rate import LearningRate
from src.training.run_record import RunRecord
from src.training.save_checkpoint import SaveCheckpoint
from src.training.train_step import build_train_step
from src.training.trainer import Parameters, Trainer
from src.training.training_data import TrainingData
from src.training.validation import Validation

BATCH_SIZE = 50  # of the 1,203 rows of the fixture `dataset`: 20 steps an epoch


@functools.cache
def _compiled(vocabulary_size, block_size):
    network = DeepFM(DeepFMConfig(vocabulary_size, 7, 3, 2, (3,)), target="CPU")
    train_step = build_train_step(network, 0.1, 1e-8, 0.0, block_size=block_size)
    predictor = DeepFMPredict(network)
    train_step.set_train()
    return train_step, predictor, {each.name: each.value().copy() for each in train_step.get_parameters()}


def untrained(vocabulary_size, block_size=1):
    """Return a TrainStep with fresh weights and the predictor of its network; both are compiled only once."""
    train_step, predictor, values = _compiled(vocabulary_size, block_size)
    for parameter in train_step.get_parameters():
        parameter.set_data(values[parameter.name].copy())
    train_step.optimizer.set_learning_rates([0.0] * block_size, 0)  # so that the first step sets that of the schedule
    return train_step, predictor


class Training:
    """A training in a folder, which fit() or resume() runs.

    publications: the number of checkpoints at each call of Upload.
    """

    def __init__(self, dataset, folder, *, epochs=1, schedule=("constant", 0.001), has_validation=True, keep=0,
                 log_every=10, eval_every=0, patience=0, save_every=0, callbacks=(), sink_size=1,
                 feeder=IteratorFeeder):  # fmt: skip
        """callbacks: those of a user, at their position in train.py."""
        self.path = pathlib.Path(folder)
        self.data = DatasetMeta.load(dataset)
        self.train_data = TrainingData(self.data, BATCH_SIZE, seed=1)
        self.train_step, self._predictor = untrained(self.data.vocabulary_size, sink_size)
        self.folder = None
        self.signals, self.publications = StopSignals(), []
        self.schedule = LearningRate(*schedule, epochs * self.train_data.get_dataset_size())
        self.record = RunRecord(self.path / "ckpt", {}, self.data, "CPU")
        self._validation_data = create_dataset(self.data, "valid", BATCH_SIZE)
        self._build = lambda: Trainer(
            self.train_step,
            epochs,
            ProcessGroup(),
            [
                LearningRateScheduler(self.schedule),
                LossLog(self.path / "loss.log"),
                TerminateOnNaN(),
                ValidationLog(self.path / "auc.log"),
                ProgressBar(),
                self.record,
                *callbacks,
                StopOnSignal(AgreedStop(self.signals, ProcessGroup())),
                Validation(self.evaluate if has_validation else None, eval_every),
                EarlyStopping(patience),
                SaveCheckpoint(self.folder, save_every),
                Upload(lambda: self.publications.append(len(self.folder.checkpoints))),
            ],
            BATCH_SIZE,
            log_every,
            feeder,
        )
        self._keep = keep

    def evaluate(self):
        return evaluate_split("valid", self._predictor, self._validation_data, ProcessGroup())

    def fit(self):
        """Train from the beginning."""
        identity = DataIdentity.of_dataset(self.data)
        config = self.train_step.network.network.config
        self.folder = ModelFolder.create(self.path / "ckpt", config, identity, keep=self._keep)
        self.trainer = self._build()
        self.trainer.fit(self.train_data)
        return self

    def resume(self):
        """Train from the last checkpoint on."""
        self.folder = ModelFolder.load(self.path / "ckpt", self._keep)
        checkpoint = self.folder.last_intact()
        self.record.resume_from(self.folder.path)
        checkpoint.load_into(self.train_step)
        self.folder.drop_after(checkpoint)
        self.trainer = self._build()
        self.trainer.fit(self.train_data, checkpoint.state, in_place=True)
        return self

    def positions(self):
        """Return epoch_step of each checkpoint."""
        return [each.file.removeprefix("deepfm-").removesuffix(".ckpt") for each in self.folder.checkpoints]

    def state_of(self, callback):
        return self.trainer.state_dict()["callbacks"][callback]


def run_train(folder, *flags):
    """Run train.py with a folder as the working directory, in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        train.main(flags)


def context_of(*callbacks, **parameters):
    """Return a RunContext as callbacks get it, of 2 epochs of 25 steps of 4 rows."""
    defaults = {"batch_num": 25, "epoch_num": 2, "rows_per_step": 4, "cur_step_num": 0, "steps_done": 0, "loss": None,
                "sink_size": 1, "learning_rate": 0.01, "metrics": {}, "list_callback": list(callbacks)}  # fmt: skip
    return RunContext(Parameters(defaults | parameters))


def lines_of(path):
    """Return the lines of a log without their times."""
    return [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
