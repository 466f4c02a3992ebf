# SPDX-License-Identifier: Apache-2.0
"""report.html: training, metrics, data and provenance of a checkpoint, in one file for any browser."""

import os
import pathlib
import time

import numpy as np
import polars as pl
from mindspore.dataset import Dataset

from src.checkpoint import Checkpoint
from src.common.files import write_text
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation, evaluate_split
from src.evaluation.field_effects import FieldEffects, measure_fields, rows_to_sample
from src.evaluation.field_sample import RowSampler
from src.evaluation.metrics import CALIBRATION_BINS, format_weight, mean
from src.evaluation.slices import MOST_FREQUENT_VALUES, FieldSlices
from src.report import figures
from src.report.curves import calibration_groups, prediction_histogram, roc_points
from src.report.field_pictures import importance_picture, pairs_picture
from src.report.html import Picture, number, render
from src.report.training_history import TrainingHistory
from src.training.run_record import read_run, this_command

TEMPLATE = pathlib.Path(__file__).with_name("page.html.j2")
SPLIT_TITLES = {"train": "training", "valid": "validation", "test": "test"}
TABLE_ROWS = 20  # of the points of a curve, evenly picked
VALUES_SHOWN = 10
MOST_DRIFTING = 3


def report_on(
    checkpoint: Checkpoint,
    data: DatasetMeta,
    split: str,
    ranks: ProcessGroup,
    path: str | os.PathLike,
    *,
    predictor: DeepFMPredict,
    dataset: Dataset | None,
    importance_rows: int,
) -> None:
    """Evaluate a checkpoint on a split, by the most informative fields too, and let the first rank write the report.

    predictor: with the weights of the checkpoint.  dataset: the batches of the split; None if there are none, then the
    report has no evaluation.  importance_rows: those on which the effects of fields are measured; 0: not at all.
    """
    evaluation = effects = None
    if dataset is not None:
        slices = FieldSlices(data, ranks, informative=True)
        sampler = RowSampler(ranks, rows_to_sample(data, importance_rows))
        evaluation = evaluate_split(split, predictor, dataset, ranks, slices=slices, sampler=sampler)
        effects = measure_fields(predictor, sampler.sample(), data, ranks)
    if ranks.is_first:
        write_report(path, evaluation, checkpoint, data, effects)


def write_report(
    path: str | os.PathLike,
    evaluation: Evaluation | None,
    checkpoint: Checkpoint,
    data: DatasetMeta,
    effects: FieldEffects | None = None,
) -> None:
    """Write report.html on a checkpoint atomically; its folders are made.  effects: None if they are not measured."""
    run = read_run(checkpoint.folder.path)
    plotted = evaluation if evaluation and evaluation.weight != 0 else None  # rows that all weigh 0 have no plots
    page = {
        "titles": SPLIT_TITLES,
        "split": evaluation and evaluation.split,
        "checkpoint": checkpoint.path,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": this_command(),
        "tiles": _tiles(evaluation) if evaluation else [],
        "training": _training_pictures(TrainingHistory.of_run(run)),
        "metrics": _metric_pictures(plotted) if plotted else [],
        "slices": [_slice_picture(*item) for item in plotted.by_field.items()] if plotted else [],
        "value_count": MOST_FREQUENT_VALUES,
        "effects": [importance_picture(effects.importance), *pairs_picture(effects.pairs)] if effects else [],
        "effect_rows": f"{effects.row_count:,}" if effects else "",
        "data": _describe_data(data),
        "run": _describe_run(run, checkpoint, data),
    }
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render(TEMPLATE, page))


def _tiles(evaluation):
    metrics = evaluation.metrics
    low, high = metrics["auc_interval"]
    tiles = (
        ("AUC", f"{metrics['auc']:.4f}", f"95 %: {low:.4f} to {high:.4f}"),
        ("log loss", f"{metrics['log_loss']:.4f}", "nats per row"),
        ("normalised entropy", f"{metrics['normalised_entropy']:.4f}", "1: as the average click rate"),
        ("calibration", f"{metrics['calibration']:.4f}", "predicted / actual clicks"),
        ("calibration error", f"{metrics['calibration_error']:.4f}", f"expected, {CALIBRATION_BINS} bins"),
        ("rows", f"{len(evaluation.labels):,}", "the complete split"),
        *_weight_tiles(evaluation.weight),
    )
    return [
        {"name": name, "value": value, "note": note + _before_recalibration(evaluation, name)}
        for name, value, note in tiles
    ]


def _weight_tiles(weight):
    return [] if weight is None else [("sum of weights", format_weight(weight), "metrics count each row by its weight")]


def _before_recalibration(evaluation, name):
    """Return the end of the note of a tile: the metric before the recalibration, if that has changed it."""
    key = name.replace(" ", "_")
    if evaluation.before is None or key not in evaluation.before:
        return ""
    return f"; {evaluation.before[key]:.4f} before recalibration"


def _training_pictures(history):
    if not history.losses:
        return []
    auc_pictures = [_auc_picture(history)] if history.validations else []
    return [_loss_picture(history), *auc_pictures, _learning_rate_picture(history.losses)]


def _loss_picture(history):
    first, last = history.losses[0], history.losses[-1]
    text = f"The training loss, including L2 regularisation, goes from {first.loss:.4f} to {last.loss:.4f}"
    if history.validations:
        first, last = history.validations[0], history.validations[-1]
        text += f"; the validation log loss from {first.log_loss:.4f} to {last.log_loss:.4f}"
    rows = [(f"{logged.epochs:.2f}", f"{logged.loss:.4f}") for logged in _some(history.losses)]
    return Picture.of("Loss", figures.loss_curves(history), f"{text}.", ("epochs", "training loss"), rows)


def _auc_picture(history):
    text = (
        "The AUC of each validation. The one with the lowest log loss, after "
        f"{history.best.epochs:.2f} epochs, has {history.best.auc:.4f}."
    )
    rows = [
        (f"{validation.epochs:.2f}", f"{validation.auc:.4f}", f"{validation.log_loss:.4f}")
        for validation in _some(history.validations)
    ]
    return Picture.of("Validation AUC", figures.auc_curve(history), text, ("epochs", "AUC", "log loss"), rows)


def _learning_rate_picture(losses):
    low, high = min(logged.learning_rate for logged in losses), max(logged.learning_rate for logged in losses)
    text = "The learning rate of Adam " + (
        f"is {low:.3g}." if low == high else f"lies between {low:.3g} and {high:.3g}."
    )
    rows = [(f"{logged.epochs:.2f}", f"{logged.learning_rate:.3g}") for logged in _some(losses)]
    return Picture.of("Learning rate", figures.learning_rate_curve(losses), text, ("epochs", "learning rate"), rows)


def _metric_pictures(evaluation):
    columns = evaluation.labels, evaluation.probabilities, evaluation.weights
    return [
        _roc_picture(roc_points(*columns), evaluation.metrics["auc"]),
        _calibration_picture(calibration_groups(*columns)),
        _distribution_picture(prediction_histogram(*columns), *columns),
    ]


def _roc_picture(points, auc):
    text = f"The area under the curve is {auc:.4f}; a random ranking has 0.5."
    rows = [tuple(f"{rate:.4f}" for rate in point) for point in _some(list(zip(*points)))]
    return Picture.of("ROC", figures.roc_plot(*points), text, ("false positive rate", "true positive rate"), rows)


def _calibration_picture(groups):
    within = groups.filter(pl.col("mean_prediction").is_between("low", "high")).height
    text = (
        f"Rows in deciles of the prediction: in {within} of {groups.height} the mean prediction lies within the 95 % "
        "interval of the click rate. Points above the line are predicted too low."
    )
    rows = [
        (decile, *(f"{row[name]:,}" for name in ("rows", "clicks")),
         *(f"{row[name]:.4f}" for name in ("mean_prediction", "click_rate")))
        for decile, row in enumerate(groups.iter_rows(named=True), 1)
    ]  # fmt: skip
    header = ("decile", "rows", "clicks", "mean prediction", "click rate")
    return Picture.of("Calibration", figures.calibration_plot(groups), text, header, rows)


def _distribution_picture(histogram, labels, probabilities, weights):
    classes = [labels == label for label in (1, 0)]
    clicked, other = (mean(probabilities[each], None if weights is None else weights[each]) for each in classes)
    text = f"The mean prediction is {clicked:.4f} for clicks and {other:.4f} for other rows."
    edges, *fractions = histogram
    rows = [
        (f"{low:.3f} to {high:.3f}", *(f"{fraction:.4f}" for fraction in row))
        for low, high, *row in zip(edges, edges[1:], *fractions)
    ]
    header = ("prediction", "fraction of clicks", "fraction of others")
    return Picture.of("Distribution of the predictions", figures.distribution_plot(*histogram), text, header, rows)


def _slice_picture(field, metrics):
    shown = metrics.head(VALUES_SHOWN)
    most = shown.row(int(shown["click_rate"].arg_max()), named=True)
    text = (
        f"The {shown.height} most frequent values of {field}. {figures.printable(most['value'])} has the highest click "
        f"rate, {most['click_rate']:.4f} in {most['rows']:,} rows, with a mean prediction of "
        f"{most['mean_prediction']:.4f}."
    )
    names = ("click_rate", "mean_prediction", "auc", "log_loss", "calibration")
    rows = [
        (figures.printable(row["value"]), f"{row['rows']:,}", *(number(row[name]) for name in names))
        for row in metrics.iter_rows(named=True)
    ]
    header = ("value", "rows", "click rate", "mean prediction", "AUC", "log loss", "calibration")
    return Picture.of(field, figures.values_plot(field, shown), text, header, rows)


def _describe_data(data):
    bad = ", ".join(f"{count:,} ({reason})" for reason, count in data.bad_lines.items() if count)
    return {
        "splits": [_describe_split(name, split) for name, split in data.splits.items()],
        "malformed": f"Malformed lines, left out: {bad or 'none'} of {data.lines:,}.",
        "drift": _describe_drift(data.fields),
        "fields": [_describe_field(field) for field in data.fields],
    }


def _describe_split(name, split):
    click_rate = number(split.positives / max(split.rows, 1))
    return SPLIT_TITLES[name], f"{split.rows:,}", f"{split.positives:,}", click_rate


def _describe_drift(fields):
    drifting = sorted((field for field in fields if field["drift"]), key=lambda field: -field["drift"])
    names = ", ".join(f"{field['name']} ({field['drift']:.4f})" for field in drifting[:MOST_DRIFTING])
    meaning = "total variation distance between the ids of the training set and those of the test split, at most 1"
    return f"OOV: out of vocabulary. Drift: {meaning}" + (f"; largest in {names}." if names else ".")


def _describe_field(field):
    rates = (number(field[name]) for name in ("missing_rate", "oov_rate_train", "oov_rate_test", "drift"))
    return field["name"], f"{field['distinct']:,}", "" if field["kept"] is None else f"{field['kept']:,}", *rates


def _describe_run(run, checkpoint, data):
    host, settings = run.get("host"), run.get("settings")
    facts = {"SHA-256 of the checkpoint": checkpoint.identity, "SHA-256 of the vocabulary": data.vocabulary_sha256}
    if host:
        hardware = f"{host['device']}, {host['ranks']} process(es), {host['cores']} cores, {host['system']}"
        facts = {"training command": run["command"], "training host": hardware, **run["versions"], **facts}
    files = [(file.name, file.sha256) for split in data.splits.values() for file in split.files]
    details = [("Training configuration", list(settings.items()))] if settings else []
    details += [("Preprocessing configuration", list(data.settings.items())), ("SHA-256 of the shards", files)]
    return {"facts": [fact for fact in facts.items() if fact[1] is not None], "details": details}


def _some(points):
    """Return at most TABLE_ROWS points, evenly picked, with the first and the last one."""
    if len(points) <= TABLE_ROWS:
        return points
    return [points[index] for index in np.linspace(0, len(points) - 1, TABLE_ROWS).round().astype(int)]
