# SPDX-License-Identifier: Apache-2.0
"""Search for a recipe, without the test set: python tune.py --dataset_path=./data/mindrecord --minutes=30"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Search for the settings of a training that suit a MindRecord folder, by its validation set.",
        needs=("dataset_path",),
        split="train",
        resume_hint="the same command with --resume=True resumes from there",
    )

from collections.abc import Sequence
from multiprocessing.connection import Connection

from src.common.errors import ConfigError, run_main
from src.common.signals import Stopped, StopSignals
from src.config import Config, given_flags, load_config
from src.dataset_meta import DatasetMeta
from src.tuning.console import announce, describe
from src.tuning.folder import search_folder
from src.tuning.outcome import Outcome
from src.tuning.page import write_page
from src.tuning.predictions import PredictionFiles
from src.tuning.recipe_file import write_recipe
from src.tuning.search import Limits, Search
from src.tuning.search_space import SearchSpace
from src.tuning.study import open_study
from src.tuning.trial_process import TrialProcess


def main(argv: Sequence[str] | None = None) -> None:
    """Search; argv: flags, those of the command line if None."""
    signals = StopSignals()
    config = load_config(argv)
    data = DatasetMeta.load(config.dataset_path)
    check(config, data)
    space = SearchSpace.of(config, data, given_flags(argv))
    with search_folder(config.tune_path, resume=config.resume, overwrite=config.overwrite) as folder:
        study, files = open_study(folder, space.identity()), PredictionFiles(folder)
        print(announce(space, config.minutes), flush=True)
        with TrialProcess(train_trials, config) as process:
            search(Search(study, space, Limits(config.minutes * 60, config.trials), process, files, signals), signals)
        outcome = Outcome.of(study, space, files)
        defaults = load_config([])
        write_recipe(folder, outcome, defaults)
        write_page(folder, outcome, defaults)
        print(describe(outcome, folder))


def check(config: Config, data: DatasetMeta) -> None:
    """Raise UserError unless trials can be trained and validated."""
    if not config.do_eval:
        raise ConfigError("--do_eval=False: a search compares trials by the validation set; leave it out")
    if config.enable_modelarts:
        raise ConfigError(
            "--enable_modelarts=True: a job of ModelArts cannot be a search; train.py, eval.py and export.py can"
        )
    data.records_per_batch("train", config.batch_size, training_ranks=1)
    data.records_per_batch("valid", config.batch_size)


def search(trials: Search, signals: StopSignals) -> None:
    """Run the trials; if a signal stops them, Stopped tells how to resume."""
    signals.begin()
    try:
        trials.run()
        signals.end()
    except Stopped as stopped:
        stopped.resume_hint = "the same command with --resume=True resumes the search"
        raise


def train_trials(connection: Connection, start: Config) -> None:
    """Train the trials whose Configs come by the connection, each as train.py does: the body of a TrialProcess.

    start: the settings that all of them share.
    """
    import train  # here, as the process that searches needs no MindSpore
    from src.callback import EarlyStopping, LearningRateScheduler, TerminateOnNaN
    from src.deepfm import create_predictor
    from src.distributed.device import set_seed
    from src.network.tables import WHOLE
    from src.training.feeder import choose_feeder
    from src.training.trainer import Trainer
    from src.training.training_data import TrainingData
    from src.training.user_callbacks import load_callbacks
    from src.training.validation import Validation
    from src.tuning.halves import SelectionHalf
    from src.tuning.trial_report import TrialReport
    from src.tuning.trial_requests import end_with_parent, failures_sent, print_nothing, requests

    end_with_parent()
    print_nothing()
    device, precision, ranks = train.prepare_device(start)
    data = DatasetMeta.load(start.dataset_path)
    validation_data = train.create_validation_data(start, data, device, ranks)
    for config in requests(connection):
        with failures_sent(connection):
            set_seed(config.seed)
            train_data = TrainingData(data, config.batch_size, config.seed, has_folds=config.value_statistics)
            train.check_memory(config, data, device.target, precision, ranks, WHOLE)
            train_step = train.create_train_step(config, data, device, precision, ranks, WHOLE)
            half = SelectionHalf(create_predictor(train_step.ema_network), validation_data)
            train_step.set_train()
            report = TrialReport(connection, half)
            callbacks = [
                LearningRateScheduler(train.create_schedule(config, train_data.get_dataset_size(), ranks.count)),
                TerminateOnNaN(),
                *load_callbacks(config.callback),
                Validation(half, config.eval_every_steps),
                EarlyStopping(config.early_stop_patience),
                report,
            ]
            feeder = choose_feeder(device.target, config.sink_size)
            trainer = Trainer(
                train_step, config.train_epochs, ranks, callbacks, config.batch_size, config.log_every, feeder
            )
            trainer.fit(train_data)
            report.send_result()


if __name__ == "__main__":
    run_main(main)
