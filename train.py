# SPDX-License-Identifier: Apache-2.0
"""Train DeepFM: python train.py --dataset_path=./data/mindrecord --ckpt_path=./checkpoint"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(distributed=True)

import contextlib
import dataclasses

from src.callback import TrainLogs
from src.checkpoint import DataIdentity, ModelFolder, find_resume_checkpoint, load_into
from src.common.errors import run_main
from src.common.locks import exclusive_training
from src.common.memory_estimate import training_bytes
from src.common.memory_limits import TRAINING, Work, check_fits, training_advice
from src.common.output_paths import Kind, Output, prepared
from src.common.signals import Stopped, StopSignals
from src.config import AUTO, load_config
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.device import dense_dtype, set_seed, set_up
from src.evaluation.slices import score_values, strongest_fields
from src.export.probe_rows import save_probe_rows
from src.modelarts.job import open_job
from src.training.events import check_package
from src.training.learning_rate import LearningRate
from src.training.run_record import RunRecord
from src.training.train_step import build_train_step, start_at_base_rate
from src.training.trainer import Trainer, TrainPlan, TrainState

RESULTS = ("ckpt_path", "loss_file_name", "eval_file_name", "report_path", "tensorboard_dir")  # settings that name them
LR_SCALINGS = {"none": 0, "linear": 1, "sqrt": 0.5}  # the power of the number of devices


def main(argv=None):
    signals = StopSignals()
    config = load_config(argv, description="Train DeepFM on a MindRecord folder.")
    with open_job(config, RESULTS, "checkpoint_path") as job:
        train(job.config, signals, job.publish)


def train(config, signals, publish):
    """Train by the settings.  publish() is called when there are new results."""
    device, ranks = set_up(config.device_target, config.device_id)
    set_seed(config.seed)
    meta = DatasetMeta.load(config.dataset_path)
    train_data = create_dataset(meta, "train", config.batch_size, shuffle=True, ranks=ranks)
    valid_data = create_valid_data(config, meta, ranks)
    with outputs_held(config, valid_data is not None, ranks):
        fit(config, signals, publish, meta, device, ranks, train_data, valid_data)


def fit(config, signals, publish, meta, device, ranks, train_data, valid_data):
    """Train on a dataset by the settings, write the report, and print a summary."""
    check_memory(config, meta, device, ranks)
    plan = of_settings(TrainPlan, config, epochs=config.train_epochs, steps_per_epoch=train_data.get_dataset_size())
    rows_per_step = config.batch_size * ranks.count
    logs = TrainLogs(
        config.loss_file_name, config.eval_file_name, config.log_every, rows_per_step, plan.steps_per_epoch,
        plan.epochs, ranks.is_first, config.tensorboard_dir,
    )  # fmt: skip
    train_step = create_train_step(config, meta, device, ranks)
    record = RunRecord(config.ckpt_path, dataclasses.asdict(config), meta, device, ranks.count)
    folder, state = open_run(config, meta, train_step, record, logs, ranks)
    if ranks.is_first:
        save_probe_rows(folder.path, meta)
    state = state.in_steps_of(rows_per_step, plan.steps_per_epoch)
    rate = learning_rate(config, plan, ranks.count)
    trainer = Trainer(train_step, rate, plan, state, valid_data, folder, logs, record, signals, ranks, publish)
    try:
        trainer.fit(train_data)
        signals.end()
    except Stopped as stopped:
        if state.step:
            stopped.resume_hint = "the same command with --resume=True resumes from there"
        raise
    if config.report_path is not None:
        report(config, meta, trainer, folder, valid_data, ranks)
    if ranks.is_first:
        print(describe(folder, state, config.report_path))


@contextlib.contextmanager
def outputs_held(config, with_valid, ranks):
    """Prepare what the first rank is going to write and keep other trainings from it, for a `with` block."""
    logs = {"loss_file_name": config.loss_file_name}
    if with_valid:
        logs["eval_file_name"] = config.eval_file_name
    outputs = [Output("ckpt_path", config.ckpt_path, Kind.FOLDER)]
    outputs += [Output(flag, path, Kind.LOG) for flag, path in logs.items()]
    if config.report_path is not None:
        outputs.append(Output("report_path", config.report_path, Kind.FILE))
    if config.tensorboard_dir is not None:
        check_package(config.tensorboard_dir)
        outputs.append(Output("tensorboard_dir", config.tensorboard_dir, Kind.FOLDER))
    with contextlib.ExitStack() as stack:

        def hold():
            stack.enter_context(prepared(outputs))
            stack.enter_context(exclusive_training(config.ckpt_path, logs))

        ranks.first_does(hold)
        yield


def check_memory(config, meta, device, ranks):
    """Print what training will take, and refuse what this machine cannot give."""
    sizes, processes = size_network(config, meta), ranks.local_count()
    needed = training_bytes(sizes, config.batch_size, config.l2_coef, config.clip_norm, config.ema_decay)
    cells = meta.lines * meta.settings["slot_dim"] if meta.settings["skip_id_convert"] else None
    advice = training_advice(sizes, cells, processes)
    ranks.first_does(lambda: check_fits(Work(TRAINING, sizes, needed, processes), device, advice))


def report(config, meta, trainer, folder, valid_data, ranks):
    """Write report.html on the training and on the best checkpoint."""
    from src.report.page import write_report  # here, as matplotlib takes its time

    split, saved = trainer.score_best()
    by_field = {}
    if split is not None:
        fields = strongest_fields(valid_data, meta.sparse_fields, ranks)
        by_field = score_values(split, valid_data, fields, meta, ranks)
    if ranks.is_first:
        write_report(config.report_path, split, by_field, saved, meta)


def describe(folder, state, report_path):
    """Return the summary of a training."""
    best = folder.best
    scores = f": valid AUC {best.metrics['auc']:.4f}, log loss {best.metrics['log_loss']:.4f}" if best.metrics else ""
    lines = [
        f"trained      {state.step:,} steps of {state.rows_per_step:,} rows",
        f"best         epoch {best.epoch}, step {best.step}{scores}",
        f"checkpoint   {best.path}",
    ]
    return "\n".join([*lines, *([f"report       {report_path}"] if report_path else [])])


def create_train_step(config, meta, device, ranks):
    """Return the TrainStep of a new network, which differs between the ranks in what dropout takes away."""
    network = DeepFM(size_network(config, meta), config.seed + ranks.rank, dense_dtype(config.convert_dtype, device))
    start_at_base_rate(network, meta.splits["train"].positives, meta.splits["train"].rows)
    return build_train_step(
        network, config.learning_rate, config.epsilon, config.l2_coef, config.l2_on, config.clip_norm, config.ema_decay,
        ranks.count,
    )  # fmt: skip


def create_valid_data(config, meta, ranks):
    """Return the valid split, or None if it is not to be scored or has no rows."""
    if config.do_eval and meta.splits["valid"].rows:
        return create_dataset(meta, "valid", config.batch_size, ranks=ranks)
    if config.do_eval:
        print("no valid split, so no scores while training; eval.py scores the test split")
    return None


def of_settings(cls, config, **others):
    """Return a dataclass whose fields are `others` and, for the rest, the settings of the same names."""
    names = {field.name for field in dataclasses.fields(cls)} - others.keys()
    return cls(**others, **{name: getattr(config, name) for name in names})


def size_network(config, meta):
    """Return the sizes that the data and the settings ask for."""
    return of_settings(
        DeepFMConfig,
        config,
        vocabulary_size=meta.vocabulary_size,
        sparse_field_count=len(meta.sparse_fields),
        dense_field_count=len(meta.dense_fields),
    )


def learning_rate(config, plan, rank_count):
    """Return the schedule of the learning rate."""
    return LearningRate(
        config.lr_schedule,
        config.learning_rate * rank_count ** LR_SCALINGS[config.lr_scaling],
        plan.total_steps,
        round(config.warmup_ratio * plan.total_steps),
        config.lr_decay_factor,
    )


def open_run(config, meta, train_step, record, logs, ranks):
    """Return the ModelFolder, which the first rank writes, and the TrainState to begin with.

    They are those of the run in ckpt_path if that is to go on, else new; a new run may start from the checkpoint of
    another one as if it were that one.
    """
    goes_on = config.resume and (config.checkpoint_path == AUTO or ModelFolder.exists(config.ckpt_path))
    if goes_on:
        source = ModelFolder.load(config.ckpt_path, config.keep_checkpoint_max)
        saved = source.last_intact()
    elif config.checkpoint_path != AUTO:
        saved = find_resume_checkpoint(config.checkpoint_path)
        source = saved.folder
    else:
        return create_folder(config, meta, train_step, ranks), TrainState()
    saved.check_data(meta)
    state = TrainState(**saved.state)
    for note in record.go_on_from(source.path, state.step / state.steps_per_epoch):
        print(f"note: {note}")
    load_into(train_step, saved.path)
    print(f"resuming from {saved.path}, after step {state.step}")
    ranks.barrier()  # until all have read what the first one is going to change
    if not goes_on:
        return create_folder(config, meta, train_step, ranks), state
    if ranks.is_first:
        source.drop_after(saved)
        logs.cut(state.log_sizes)
    return source, state


def create_folder(config, meta, train_step, ranks):
    """Return the ModelFolder of a new run."""
    contents = config.ckpt_path, train_step.network.network.config, DataIdentity.of_dataset(meta)
    if not ranks.is_first:
        return ModelFolder(*contents)
    return ModelFolder.create(*contents, overwrite=config.overwrite, keep=config.keep_checkpoint_max)


if __name__ == "__main__":
    run_main(main)
