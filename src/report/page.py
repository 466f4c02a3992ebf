# SPDX-License-Identifier: Apache-2.0
"""report.html: how a checkpoint was trained, how it scores, on what data, what made it; one file, for any browser."""

import dataclasses
import pathlib
import time

import jinja2
import markupsafe
import numpy as np
import polars as pl

from src.common.files import write_text
from src.evaluation.slices import COMMONEST_VALUES
from src.report import figures
from src.report.curves import calibration_groups, roc_points, score_histogram
from src.training.run_record import read_run, this_command

TEMPLATE = pathlib.Path(__file__).with_name("page.html.j2")
TABLE_ROWS = 20  # of the numbers of a curve, evenly picked
VALUES_SHOWN = 10
MOST_DRIFTING = 3


@dataclasses.dataclass(frozen=True)
class Picture:
    """A plot, a text that says what it shows, and a table of its numbers."""

    title: str
    svg: markupsafe.Markup
    text: str
    header: tuple
    rows: list

    @classmethod
    def of(cls, title, svg, text, header, rows):
        """svg: as report_figures gives it; the text becomes what is read aloud in its place."""
        label = markupsafe.Markup('<svg role="img" aria-label="{}" ').format(text)
        return cls(title, markupsafe.Markup(svg.replace("<svg ", label, 1)), text, header, rows)


def write_report(path, split, by_field, checkpoint, data):
    """Write the page on a Checkpoint, atomically; its folders are made.

    split: the ScoredSplit, or None.  by_field: of slices.score_values.  data: the DatasetMeta.
    """
    run = read_run(checkpoint.folder.path)
    page = {
        "split": split and split.name,
        "checkpoint": checkpoint.path,
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "command": this_command(),
        "tiles": _tiles(split.scores) if split else [],
        "training": _training_pictures(run),
        "scores": _score_pictures(split) if split else [],
        "values": [_value_picture(*item) for item in by_field.items()],
        "value_count": COMMONEST_VALUES,
        "data": _describe_data(data),
        "run": _describe_run(run, checkpoint, data),
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    html = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(page)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)


def _tiles(scores):
    low, high = scores["AUC_interval"]
    shown = (
        ("AUC", f"{scores['AUC']:.4f}", f"95 %: {low:.4f} to {high:.4f}"),
        ("log loss", f"{scores['log_loss']:.4f}", "nats a row"),
        ("normalised entropy", f"{scores['normalised_entropy']:.4f}", "1: no better than the click rate"),
        ("calibration", f"{scores['calibration']:.4f}", "predicted over real clicks"),
        ("calibration error", f"{scores['calibration_error']:.4f}", "expected, 15 intervals"),
        ("rows", f"{scores['rows']:,}", "all of the split"),
    )
    return [dict(zip(("name", "value", "note"), tile)) for tile in shown]


def _training_pictures(run):
    losses, looks = run.get("losses"), run.get("history", [])
    if not losses:
        return []
    scored = [look for look in looks if look["valid"]]
    return [_loss_picture(losses, scored), *([_auc_picture(scored)] if scored else []), _rate_picture(losses)]


def _loss_picture(losses, scored):
    text = f"The loss of train batches, L2 included, goes from {losses[0][1]:.4f} to {losses[-1][1]:.4f}"
    if scored:
        first, last = (scored[place]["valid"]["log_loss"] for place in (0, -1))
        text += f"; log loss on valid from {first:.4f} to {last:.4f}"
    rows = [(f"{epochs:.2f}", f"{loss:.4f}") for epochs, loss, _ in _some(losses)]
    return Picture.of("Loss", figures.loss_curves(losses, scored), f"{text}.", ("epochs", "train loss"), rows)


def _auc_picture(scored):
    best = min(scored, key=lambda look: look["valid"]["log_loss"])
    text = (
        f"AUC on valid after each look. The look of the lowest log loss, after {best['epochs_done']:.2f} epochs, has "
        f"{best['valid']['auc']:.4f}."
    )
    rows = [
        (f"{look['epochs_done']:.2f}", *(f"{look['valid'][name]:.4f}" for name in ("auc", "log_loss")))
        for look in _some(scored)
    ]
    return Picture.of("AUC on valid", figures.auc_curve(scored), text, ("epochs", "AUC", "log loss"), rows)


def _rate_picture(losses):
    low, high = min(rate for *_, rate in losses), max(rate for *_, rate in losses)
    text = "The learning rate of Adam " + (
        f"is {low:.3g}." if low == high else f"lies between {low:.3g} and {high:.3g}."
    )
    rows = [(f"{epochs:.2f}", f"{rate:.3g}") for epochs, _, rate in _some(losses)]
    return Picture.of("Learning rate", figures.rate_curve(losses), text, ("epochs", "learning rate"), rows)


def _score_pictures(split):
    columns = split.labels, split.probabilities
    return [
        _roc_picture(roc_points(*columns), split.scores["AUC"]),
        _calibration_picture(calibration_groups(*columns)),
        _distribution_picture(score_histogram(*columns), *columns),
    ]


def _roc_picture(points, auc):
    text = f"The curve encloses {auc:.4f} of the area; chance would enclose 0.5."
    rows = [tuple(f"{rate:.4f}" for rate in point) for point in _some(list(zip(*points)))]
    return Picture.of("ROC", figures.roc_plot(*points), text, ("false positive rate", "true positive rate"), rows)


def _calibration_picture(groups):
    within = groups.filter(pl.col("mean_prediction").is_between("low", "high")).height
    text = (
        f"Rows in tenths by prediction: in {within} of {groups.height} the mean prediction lies within the 95 % "
        "interval of the click rate. A point above the line was predicted too low."
    )
    rows = [
        (place, *(f"{row[name]:,}" for name in ("rows", "clicks")),
         *(f"{row[name]:.4f}" for name in ("mean_prediction", "click_rate")))
        for place, row in enumerate(groups.iter_rows(named=True), 1)
    ]  # fmt: skip
    header = ("tenth", "rows", "clicks", "mean prediction", "click rate")
    return Picture.of("Calibration", figures.calibration_plot(groups), text, header, rows)


def _distribution_picture(histogram, labels, probabilities):
    clicked, other = (probabilities[labels == label].mean(dtype=np.float64) for label in (1, 0))
    text = f"Clicks are predicted with {clicked:.4f} in the mean, other rows with {other:.4f}."
    edges, *shares = histogram
    rows = [
        (f"{low:.3f} to {high:.3f}", *(f"{share:.4f}" for share in row))
        for low, high, *row in zip(edges, edges[1:], *shares)
    ]
    header = ("prediction", "share of clicks", "share of others")
    return Picture.of("Distribution of the predictions", figures.distribution_plot(*histogram), text, header, rows)


def _value_picture(field, scores):
    shown = scores.head(VALUES_SHOWN)
    most = shown.row(int(shown["click_rate"].arg_max()), named=True)
    text = (
        f"The {shown.height} commonest values of {field}. {figures.printable(most['value'])} is clicked most, in "
        f"{most['click_rate']:.4f} of {most['rows']:,} rows, and predicted with {most['mean_prediction']:.4f}."
    )
    names = ("click_rate", "mean_prediction", "AUC", "log_loss", "calibration")
    rows = [
        (figures.printable(row["value"]), f"{row['rows']:,}", *(_number(row[name]) for name in names))
        for row in scores.iter_rows(named=True)
    ]
    header = ("value", "rows", "click rate", "mean prediction", "AUC", "log loss", "calibration")
    return Picture.of(field, figures.values_plot(field, shown), text, header, rows)


def _describe_data(data):
    bad = ", ".join(f"{count:,} ({reason})" for reason, count in data.bad_lines.items() if count)
    drifting = sorted((field for field in data.fields if field["drift"]), key=lambda field: -field["drift"])
    names = ", ".join(f"{field['name']} ({field['drift']:.4f})" for field in drifting[:MOST_DRIFTING])
    return {
        "splits": [
            (name, f"{split.rows:,}", f"{split.positives:,}", _number(split.positives / max(split.rows, 1)))
            for name, split in data.splits.items()
        ],
        "malformed": f"Malformed lines, left out: {bad or 'none'} of {data.lines:,}.",
        "drift": "OOV: out of vocabulary. Drift: total variation distance of the ids between train and test, at most 1"
        + (f"; most in {names}." if names else "."),
        "fields": [_describe_field(field) for field in data.fields],
    }


def _describe_field(field):
    rates = (_number(field[name]) for name in ("missing_rate", "oov_rate_train", "oov_rate_test", "drift"))
    return field["name"], f"{field['distinct']:,}", "" if field["kept"] is None else f"{field['kept']:,}", *rates


def _describe_run(run, checkpoint, data):
    host, settings = run.get("host"), run.get("settings")
    facts = {"SHA-256 of the checkpoint": checkpoint.sha256, "SHA-256 of the vocabulary": data.vocabulary_sha256}
    if host:
        place = f"{host['device']}, {host['ranks']} process(es), {host['cores']} cores, {host['system']}"
        facts = {"trained by": run["command"], "trained on": place, **run["versions"], **facts}
    files = [(file.name, file.sha256) for split in data.splits.values() for file in split.files]
    details = [("Settings of the training", list(settings.items()))] if settings else []
    details += [("Settings of the data", list(data.settings.items())), ("SHA-256 of the shards", files)]
    return {"facts": [fact for fact in facts.items() if fact[1] is not None], "details": details}


def _some(points):
    """Return at most TABLE_ROWS of a list, evenly picked, the first and the last among them."""
    if len(points) <= TABLE_ROWS:
        return points
    return [points[place] for place in np.linspace(0, len(points) - 1, TABLE_ROWS).round().astype(int)]


def _number(value):
    return "" if value is None or np.isnan(value) else f"{value:.4f}"
