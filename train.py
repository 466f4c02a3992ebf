# SPDX-License-Identifier: Apache-2.0
"""Train DeepFM: python train.py --dataset_path=./data/mindrecord --ckpt_path=./checkpoint"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Train DeepFM on a MindRecord folder.",
        needs=("dataset_path",),
        may_read=("checkpoint_path",),
        split="train",
        distributed=True,
    )

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

from mindspore.dataset import Dataset

from src.callback import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    LossLog,
    ProgressBar,
    StopOnSignal,
    TerminateOnNaN,
    Upload,
    ValidationLog,
)
from src.checkpoint import Checkpoint, DataIdentity, ModelFolder, find_checkpoint, find_resume_checkpoint
from src.common.errors import UserError, run_main
from src.common.locks import exclusive_training
from src.common.memory_estimate import training_bytes
from src.common.memory_limits import TRAINING, Work, check_fits, training_advice
from src.common.output_paths import Kind, Output, prepared
from src.common.signals import Stopped, StopSignals
from src.config import AUTO, LR_SCALINGS, Config, check_sink_size, load_config, outputs_of
from src.dataset import create_dataset, evaluation_batch_size
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict, create_predictor
from src.distributed.device import Device, set_seed, set_up
from src.distributed.process_group import AgreedStop, ProcessGroup
from src.evaluation.evaluate import Evaluation, evaluate_split
from src.export.probe_rows import save_probe_rows
from src.modelarts.job import open_job
from src.network.tables import Part, table_owners
from src.package.raw_encoding import RawEncoding
from src.training.dropout_check import check_masks
from src.training.feeder import choose_feeder
from src.training.large_batch import LargeBatch
from src.training.learning_rate import LearningRate
from src.training.precision import Precision, choose_precision
from src.training.run_record import RunRecord
from src.training.save_checkpoint import SaveCheckpoint
from src.training.tensorboard import TensorBoard, check_package
from src.training.train_step import TrainStep, build_train_step, init_bias_to_base_rate
from src.training.trainer import Trainer, converted_step
from src.training.training_data import TrainingData
from src.training.user_callbacks import load_callbacks
from src.training.validation import Validation
from src.training.value_statistics import learn_statistics


def main(argv: Sequence[str] | None = None) -> None:
    """Train; argv: flags, those of the command line if None."""
    signals = StopSignals()
    config = load_config(argv)
    with open_job(config, outputs_of("train"), "checkpoint_path") as job:
        train(job.config, signals, job.publish)


def train(config: Config, signals: StopSignals, publish: Callable[[], object]) -> None:
    """Train by the configuration, and report.  publish() is called when there are new results."""
    user_callbacks = load_callbacks(config.callback)
    device, precision, ranks = prepare_device(config)
    data = DatasetMeta.load(config.dataset_path)
    train_data = TrainingData(data, config.batch_size, config.seed, ranks, has_folds=config.value_statistics)
    check_sink_size(config, train_data.get_dataset_size())
    validation_data = create_validation_data(config, data, device, ranks)
    owners = table_owners(ranks, config.embedding_size, shard_embedding=config.shard_embedding)
    part = Part(owners.rank, owners.count)
    with outputs_held(config, validation_data is not None, ranks):
        check_memory(config, data, device.target, precision, ranks, part)
        train_step = create_train_step(config, data, device, precision, ranks, part)
        predictor = create_predictor(train_step.ema_network)  # made once, as it is compiled at its first use
        train_step.set_train()
        record = RunRecord(config.ckpt_path, dataclasses.asdict(config), data, str(device), ranks.count)
        folder, state, in_place = open_run(config, data, train_step, record, ranks)
        if ranks.is_first:
            save_probe_rows(folder.path, data)
            RawEncoding.of_dataset(data).save(folder.path)
        stop, evaluate = AgreedStop(signals, ranks), create_evaluate(predictor, validation_data, ranks, signals)
        callbacks = [  # in the order of their calls
            LearningRateScheduler(create_schedule(config, train_data.get_dataset_size(), ranks.count)),
            *create_logs(config),
            record,
            *user_callbacks,
            StopOnSignal(stop),
            Validation(evaluate, config.eval_every_steps),
            EarlyStopping(config.early_stop_patience),
            SaveCheckpoint(folder, config.save_checkpoint_steps, config.save_checkpoint_seconds, owners),
            Upload(publish),
        ]
        rows_per_step = config.batch_size * ranks.count
        feeder = choose_feeder(device.target, config.sink_size)
        trainer = Trainer(train_step, config.train_epochs, ranks, callbacks, rows_per_step, config.log_every, feeder)
        fit(trainer, train_data, state, in_place, stop)
        if config.report_path is not None:
            report(config.report_path, folder, predictor, validation_data, data, ranks, config.importance_rows)
        if ranks.is_first:
            has_weights = data.has_weights
            print(describe(trainer.steps_done, rows_per_step, folder.best, config.report_path, has_weights=has_weights))


def prepare_device(config: Config) -> tuple[Device, Precision, ProcessGroup]:
    """Select the device, join the other ranks, and check what training relies on; UserError if that is not given."""
    device, ranks = set_up(
        config.device_target, config.device_id, config.jit_level, config.convert_dtype, has_dropout=has_dropout(config)
    )
    precision = choose_precision(config.convert_dtype, device)
    if has_dropout(config) and device.target != "CPU":  # the tests have checked the masks of CPUs
        check_masks(device.target)
    set_seed(config.seed)
    return device, precision, ranks


def fit(trainer: Trainer, train_data: TrainingData, state: dict | None, in_place: bool, stop: AgreedStop) -> None:
    """Train; if a signal stops it, Stopped tells how to resume."""
    try:
        trainer.fit(train_data, state, in_place=in_place)
        stop.end()
    except Stopped as stopped:
        if trainer.steps_done:
            stopped.resume_hint = "the same command with --resume=True resumes from there"
        raise


@contextlib.contextmanager
def outputs_held(config: Config, has_validation: bool, ranks: ProcessGroup) -> Iterator[None]:
    """Prepare the files that the first rank is going to write and keep other trainings from them, for a `with` block.

    has_validation: whether there is a validation set, whose metrics go to a log.
    """
    logs = {"loss_file_name": config.loss_file_name}
    if has_validation:
        logs["eval_file_name"] = config.eval_file_name
    outputs = [Output("ckpt_path", config.ckpt_path, Kind.FOLDER)]
    outputs += [Output(flag, path, Kind.LOG) for flag, path in logs.items()]
    if config.report_path is not None:
        outputs.append(Output("report_path", config.report_path, Kind.FILE))
    if config.tensorboard_dir is not None:
        check_package(config.tensorboard_dir)
        outputs.append(Output("tensorboard_dir", config.tensorboard_dir, Kind.FOLDER))
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            stack.enter_context(prepared(outputs))
            stack.enter_context(exclusive_training(config.ckpt_path, logs))

        ranks.first_does(hold)
        yield


def check_memory(
    config: Config, data: DatasetMeta, device: str, precision: Precision, ranks: ProcessGroup, part: Part
) -> None:
    """Print the memory that training will take, and refuse more than this machine has."""
    sizes, processes = network_config(config, data), ranks.local_count()
    needed = training_bytes(
        sizes, config.batch_size, config.l2_coef, max(config.clip_norm, config.cowclip_ratio), config.ema_decay,
        checks_overflow=precision.checks_overflow, part_count=part.count,
    )  # fmt: skip
    cells = data.lines * data.settings["slot_dim"] if data.settings["skip_id_convert"] else None
    advice = training_advice(sizes, cells, processes, is_cut=not part.is_whole)
    work = Work(TRAINING, sizes, needed, processes, part.count)
    ranks.first_does(lambda: check_fits(work, device, advice))


def create_validation_data(config: Config, data: DatasetMeta, device: Device, ranks: ProcessGroup) -> Dataset | None:
    """Return the dataset of the validation set; None if it is not to be evaluated or has no rows."""
    if config.do_eval and data.splits["valid"].rows:
        return create_dataset(data, "valid", evaluation_batch_size(data, config.batch_size, device.target), ranks)
    if config.do_eval:
        print("no validation set, so no metrics while training; eval.py evaluates the test set")
    return None


def network_config(config: Config, data: DatasetMeta) -> DeepFMConfig:
    """Return the DeepFMConfig: sizes from the data, the rest from the settings of the same names."""
    return DeepFMConfig(
        vocabulary_size=data.vocabulary_size,
        sparse_field_count=len(data.sparse_fields),
        dense_field_count=len(data.dense_fields),
        embedding_size=config.embedding_size,
        hidden_sizes=config.hidden_sizes,
        keep_prob=config.keep_prob,
        embedding_keep_prob=config.embedding_keep_prob,
        list_lengths=tuple(data.list_lengths.values()),
        has_statistics=config.value_statistics,
    )


def has_dropout(config: Config) -> bool:
    """Tell whether training draws dropout masks."""
    return config.keep_prob < 1 or config.embedding_keep_prob < 1


def create_train_step(
    config: Config, data: DatasetMeta, device: Device, precision: Precision, ranks: ProcessGroup, part: Part
) -> TrainStep:
    """Return the TrainStep of a new network; that of each rank differs in dropout and in its part of the tables."""
    dropout_seed = config.seed + ranks.rank
    network = DeepFM(network_config(config, data), dropout_seed, precision.dense_dtype, device.target, part)
    train, keep_rate = data.splits["train"], data.settings.get("negative_keep_rate", 1.0)
    init_bias_to_base_rate(network, train.base_rate, keep_rate)
    statistics = learn_statistics(data, ranks) if config.value_statistics else None
    return build_train_step(
        network, config.learning_rate, config.epsilon, config.l2_coef, config.l2_on, config.clip_norm, config.ema_decay,
        mean_weight=train.mean_weight, negative_keep_rate=keep_rate, precision=precision, block_size=config.block_size,
        rank_count=ranks.count, large_batch=large_batch_of(config, ranks), statistics=statistics,
        l2_linear_factor=config.l2_linear_factor,
    )  # fmt: skip


def peak_learning_rate(config: Config, rank_count: int) -> float:
    """Return the learning rate, scaled with the number of devices."""
    return config.learning_rate * rank_count ** LR_SCALINGS[config.lr_scaling]


def large_batch_of(config: Config, ranks: ProcessGroup) -> LargeBatch:
    """Return how the tables are trained; UserError for a limit of gradients of which each rank has a part."""
    if config.cowclip_ratio and config.shard_embedding and ranks.count > 1:
        raise UserError("--cowclip_ratio needs whole gradients; leave out --shard_embedding")
    peak = peak_learning_rate(config, ranks.count)
    factor = config.embedding_learning_rate / peak if config.embedding_learning_rate else 1.0
    return LargeBatch(factor, config.cowclip_ratio, config.cowclip_bound)


def create_schedule(config: Config, steps_per_epoch: int, rank_count: int) -> LearningRate:
    """Return the LearningRate schedule."""
    total_steps = config.train_epochs * steps_per_epoch
    return LearningRate(
        config.lr_schedule,
        peak_learning_rate(config, rank_count),
        total_steps,
        round(config.warmup_ratio * total_steps),
        config.lr_decay_factor,
    )


def create_logs(config: Config) -> list[Callback]:
    """Return the callbacks that log losses and metrics, and end a training that diverges."""
    logs = [LossLog(config.loss_file_name), TerminateOnNaN(), ValidationLog(config.eval_file_name), ProgressBar()]
    return logs if config.tensorboard_dir is None else [*logs, TensorBoard(config.tensorboard_dir)]


def create_evaluate(
    predictor: DeepFMPredict, validation_data: Dataset | None, ranks: ProcessGroup, signals: StopSignals
) -> Callable[[], Evaluation] | None:
    """Return a function that evaluates the validation set; None if there is none.

    signals: can end an evaluation between two batches, on all ranks between the same ones.
    """
    if validation_data is None:
        return None
    stop = AgreedStop(signals, ranks)
    return functools.partial(evaluate_split, "valid", predictor, validation_data, ranks, between_batches=stop.check)


def open_run(
    config: Config, data: DatasetMeta, train_step: TrainStep, record: RunRecord, ranks: ProcessGroup
) -> tuple[ModelFolder, dict | None, bool]:
    """Create a run, or resume one; return its ModelFolder, the state to start from or None, and whether it is resumed.

    A new run may start from the checkpoint of another one, as if it were that one.
    """
    in_place = config.resume and (config.checkpoint_path == AUTO or ModelFolder.exists(config.ckpt_path))
    if in_place:
        checkpoint = ModelFolder.load(config.ckpt_path, config.keep_checkpoint_max).last_intact()
    elif config.checkpoint_path != AUTO:
        checkpoint = find_resume_checkpoint(config.checkpoint_path)
    else:
        return create_folder(config, data, ranks), None, False
    restore(checkpoint, config, data, train_step, record, ranks)
    ranks.barrier()  # until all have read what the first one is going to change
    if not in_place:
        return create_folder(config, data, ranks), checkpoint.state, False
    if ranks.is_first:
        checkpoint.folder.drop_after(checkpoint)
    return checkpoint.folder, checkpoint.state, True


def restore(
    checkpoint: Checkpoint,
    config: Config,
    data: DatasetMeta,
    train_step: TrainStep,
    record: RunRecord,
    ranks: ProcessGroup,
) -> None:
    """Load a Checkpoint into the train step and the RunRecord of a run on the same data; say so."""
    checkpoint.check_data(data)
    checkpoint.check_resumable()
    for note in record.resume_from(checkpoint.folder.path):
        print(f"note: {note}")
    steps = data.steps_per_epoch(config.batch_size, ranks.count)
    check_sink_size(config, steps, converted_step(checkpoint.state, config.batch_size * ranks.count, steps))
    checkpoint.load_into(train_step, train_step.part)
    print(f"resuming from {checkpoint.path}, after step {checkpoint.state['step']}")


def create_folder(config: Config, data: DatasetMeta, ranks: ProcessGroup) -> ModelFolder:
    """Return the ModelFolder of a new run."""
    contents = config.ckpt_path, network_config(config, data), DataIdentity.of_dataset(data)
    if not ranks.is_first:
        return ModelFolder(*contents)
    return ModelFolder.create(*contents, overwrite=config.overwrite, keep=config.keep_checkpoint_max)


def report(
    path: str,
    folder: ModelFolder,
    predictor: DeepFMPredict,
    validation_data: Dataset | None,
    data: DatasetMeta,
    ranks: ProcessGroup,
    importance_rows: int,
) -> None:
    """Write the report on the training and on its best checkpoint.

    importance_rows: those on which the effects of fields are measured; 0: not at all.
    The network of `predictor` gets the weights of that: training is over, and memory may not suffice for a second one.
    """
    from src.report.page import report_on  # here, as importing matplotlib takes long

    ranks.barrier()  # until the first one has saved the last checkpoint
    best = find_checkpoint(folder.path)
    best.load_into(predictor.network, predictor.network.part)
    report_on(
        best, data, "valid", ranks, path, predictor=predictor, dataset=validation_data, importance_rows=importance_rows
    )


def describe(
    step: int, rows_per_step: int, best: Checkpoint, report_path: str | None, *, has_weights: bool = False
) -> str:
    """Return the summary of a training of so many steps, of which `best` is the best Checkpoint.

    has_weights: whether its metrics are weighted.
    """
    metrics = f": valid AUC {best.metrics['auc']:.4f}, log loss {best.metrics['log_loss']:.4f}" if best.metrics else ""
    metrics += ", by weight" if best.metrics and has_weights else ""
    lines = [
        f"trained      {step:,} steps of {rows_per_step:,} rows",
        f"best         epoch {best.epoch}, step {best.step}{metrics}",
        f"checkpoint   {best.path}",
    ]
    return "\n".join([*lines, *([f"report       {report_path}"] if report_path else [])])


if __name__ == "__main__":
    run_main(main)
