# SPDX-License-Identifier: Apache-2.0
"""Evaluate a checkpoint: python eval.py --dataset_path=./data/mindrecord --checkpoint_path=./checkpoint"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Evaluate a checkpoint on the complete test set.",
        needs=("dataset_path", "checkpoint_path"),
        split="test",
        distributed=True,
    )

import contextlib
import dataclasses
import pathlib
from collections.abc import Sequence

from src.checkpoint import Checkpoint
from src.checkpoint_average import find_model
from src.common.errors import run_main
from src.common.files import append_line
from src.common.memory_estimate import prediction_bytes
from src.common.memory_limits import Work, check_fits
from src.common.output_paths import Kind, Output, prepared
from src.config import AUTO, Config, load_config, outputs_of
from src.dataset import create_dataset, evaluation_batch_size
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict, create_predictor
from src.distributed.device import set_up
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation, evaluate_split, predict
from src.evaluation.field_effects import FieldEffects, measure_fields, rows_to_sample
from src.evaluation.field_sample import RowSampler
from src.evaluation.fit_recalibration import Fit, fit_recalibration
from src.evaluation.metrics import chance_calibration_error, describe_metrics
from src.evaluation.predictions_file import write_predictions
from src.evaluation.record import RECORD_NAME, EvaluationRecord
from src.evaluation.slices import FieldSlices, describe_slices
from src.modelarts.job import open_job
from src.network.tables import Part, table_owners
from src.training.precision import choose_precision


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate a checkpoint; argv: flags, those of the command line if None."""
    config = load_config(argv)
    with open_job(config, outputs_of("eval"), "checkpoint_path") as job:
        evaluate(job.config)


def evaluate(config: Config) -> None:
    """Evaluate a checkpoint, and write and print the results."""
    device, ranks = set_up(config.device_target, config.device_id, config.jit_level, config.convert_dtype)
    precision = choose_precision(config.convert_dtype, device)
    checkpoint = find_model(config.ckpt_path if config.checkpoint_path == AUTO else config.checkpoint_path)
    data = DatasetMeta.load(config.dataset_path)
    checkpoint.check_data(data)
    data.check_field(config.by_field)
    record = EvaluationRecord.load(checkpoint.path, checkpoint.identity)
    with contextlib.ExitStack() as stack:
        ranks.first_does(lambda: stack.enter_context(prepared(outputs(config, checkpoint))))
        part = choose_part(checkpoint, config, ranks)
        check_memory(checkpoint, config.batch_size, device.target, ranks, part)
        predictor = create_predictor(checkpoint.load_network(precision.dense_dtype, device.target, part))
        batch_size = evaluation_batch_size(data, config.batch_size, device.target)
        if config.fit_calibration:
            fit = fit_to_validation(predictor, data, batch_size, ranks)
            record = EvaluationRecord(None, fit.recalibration, fit.rows if fit.recalibration else 0)
        test_data = create_dataset(data, "test", batch_size, ranks=ranks)
        slices = FieldSlices(data, ranks, by_field=config.by_field, informative=config.report_path is not None)
        sampler = RowSampler(ranks, rows_to_sample(data, config.importance_rows if config.report_path else 0))
        recalibration = record.recalibration
        evaluation = evaluate_split(
            "test", predictor, test_data, ranks, slices=slices, sampler=sampler, recalibration=recalibration
        )
        effects = measure_fields(predictor, sampler.sample(), data, ranks, recalibration=recalibration)
        if ranks.is_first:
            record = dataclasses.replace(record, test=evaluation.metrics)
            keep(record, checkpoint, is_fitted=config.fit_calibration)
            write_results(evaluation, effects, record, checkpoint, data, config)


def outputs(config: Config, checkpoint: Checkpoint) -> list[Output]:
    """Return the Outputs of an evaluation."""
    files = {"report_path": config.report_path, "predictions_path": config.predictions_path}
    named = [Output(flag, path, Kind.FILE) for flag, path in files.items() if path is not None]
    if config.fit_calibration:
        path, hint = checkpoint.path.with_name(RECORD_NAME), "make the checkpoint folder writable"
        named.append(Output("fit_calibration", str(path), Kind.FILE, f"--fit_calibration=True: {path}", hint))
    return [Output("eval_file_name", config.eval_file_name, Kind.LOG), *named]


def choose_part(checkpoint: Checkpoint, config: Config, ranks: ProcessGroup) -> Part:
    """Return the part of the tables that this process is to hold, however many parts the checkpoint has."""
    size = checkpoint.folder.network_config.embedding_size
    owners = table_owners(ranks, size, shard_embedding=config.shard_embedding)
    return Part(owners.rank, owners.count)


def check_memory(checkpoint: Checkpoint, batch_size: int, device: str, ranks: ProcessGroup, part: Part) -> None:
    """Print the memory that the evaluation needs; raise UserError if this machine does not have it."""
    sizes = checkpoint.folder.network_config
    needed = prediction_bytes(sizes, batch_size, part_count=part.count)
    work = Work("evaluation", sizes, needed, ranks.local_count(), part.count)
    ranks.first_does(lambda: check_fits(work, device, "use a smaller --batch_size or a machine with more memory"))


def fit_to_validation(predictor: DeepFMPredict, data: DatasetMeta, batch_size: int, ranks: ProcessGroup) -> Fit:
    """Return the recalibration of the validation rows; the first rank prints how the methods compare."""
    fit = fit_recalibration(*predict(predictor, create_dataset(data, "valid", batch_size, ranks=ranks), ranks, "valid"))
    if ranks.is_first:
        losses = ", ".join(f"{method} {loss:.5f}" for method, loss in fit.losses.items())
        print(f"cross-validated log loss: {losses}")
        if fit.recalibration is None:
            print("note: neither method lowers the log loss, so the probabilities stay as they are")
    return fit


def keep(record: EvaluationRecord, checkpoint: Checkpoint, *, is_fitted: bool) -> None:
    """Store the record next to the checkpoint; print a note if that is impossible, unless a recalibration is lost."""
    try:
        record.save(checkpoint.path, checkpoint.identity, is_fitted=is_fitted)
    except OSError as error:
        if is_fitted:
            raise
        print(f"note: {checkpoint.folder.path}: {error.strerror}; these metrics are not stored there")


def write_results(
    evaluation: Evaluation,
    effects: FieldEffects | None,
    record: EvaluationRecord,
    checkpoint: Checkpoint,
    data: DatasetMeta,
    config: Config,
) -> None:
    """Append to auc.log, write the other files, and print the metrics; the last line is for other programs."""
    append_line(config.eval_file_name, f"{checkpoint.file} test {evaluation.log_text()}")
    if config.predictions_path is not None:
        columns = evaluation.labels, evaluation.probabilities, evaluation.weights
        write_predictions(config.predictions_path, *columns)
    if config.by_field is not None:
        print(describe_slices(config.by_field, evaluation.by_field[config.by_field]))
    if config.report_path is not None:
        from src.report.page import write_report  # here, as importing matplotlib takes long

        write_report(config.report_path, evaluation, checkpoint, data, effects)
    print(describe(evaluation, record, checkpoint.path, config))
    print(result_line(evaluation))


def describe(evaluation: Evaluation, record: EvaluationRecord, checkpoint_path: pathlib.Path, config: Config) -> str:
    """Return the summary of an evaluation."""
    rows, clicks = len(evaluation.labels), int(evaluation.labels.sum())
    lines = [
        f"{evaluation.split:12} {rows:,} rows, {clicks:,} clicks, {evaluation.seconds:.1f} s",
        *describe_metrics(evaluation.metrics, evaluation.weight),
        *describe_recalibration(evaluation, record),
        f"checkpoint   {checkpoint_path}",
    ]
    written = {"report": config.report_path, "predictions": config.predictions_path}
    return "\n".join([*lines, *(f"{name:12} {path}" for name, path in written.items() if path is not None)])


def describe_recalibration(evaluation: Evaluation, record: EvaluationRecord) -> list[str]:
    """Return lines on the recalibration, none if there is none."""
    if record.recalibration is None or evaluation.before is None:
        return []
    before = evaluation.before
    by_chance = chance_calibration_error(evaluation.probabilities, evaluation.weights)
    return [
        f"recalibration  {record.recalibration.method}, fitted on {record.fitted_rows:,} validation rows",
        f"before it    AUC {before['auc']:.4f}, log loss {before['log_loss']:.4f}, calibration "
        f"{before['calibration']:.4f} (error {before['calibration_error']:.4f})",
        f"by chance    error {by_chance:.4f}, if each probability were exact",
    ]


def result_line(evaluation: Evaluation) -> str:
    """Return the metrics as a Python dict with the names of the model zoo."""
    others = dict(evaluation.metrics)
    names = {"AUC": others.pop("auc"), "AUC_interval": others.pop("auc_interval")}
    before = {} if evaluation.before is None else {"before_recalibration": evaluation.before}
    return str({"result": {**names, **others, "eval_time": evaluation.seconds, **before}})


if __name__ == "__main__":
    run_main(main, prints_result=True)
