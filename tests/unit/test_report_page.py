# SPDX-License-Identifier: Apache-2.0
"""The report is opened in a real browser."""

import dataclasses
import html.parser
import io
import json
import math
import re

import matplotlib.image
import numpy as np
import pytest

from src.checkpoint import Checkpoint, DataIdentity, ModelFolder
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMConfig
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation
from src.evaluation.field_effects import FieldEffects
from src.evaluation.field_pairs import FieldPair
from src.evaluation.importance import FieldImportance
from src.evaluation.metrics import compute_metrics
from src.evaluation.paired_metrics import Estimate
from src.evaluation.slices import FieldSlices
from src.report.figures import printable
from src.report.page import write_report
from tests.records import read_rows

VALIDATIONS = [
    {"epochs_done": 1.0, "valid": {"auc": 0.71, "log_loss": 0.55}},
    {"epochs_done": 2.0, "valid": {"auc": 0.73, "log_loss": 0.51}},
    {"epochs_done": 3.0, "valid": {"auc": 0.72, "log_loss": 0.52}},
]
LOSSES = [[step / 20, 0.6 - 0.003 * step, 0.001] for step in range(1, 61)]
IMPORTANCE = [
    FieldImportance("I1", Estimate(0.0312, 0.0212, 0.0412), Estimate(0.0214, 0.0204, 0.0224)),
    FieldImportance("C2", Estimate(0.0012, -0.0008, 0.0032), Estimate(0.0011, -0.0009, 0.0031)),
    FieldImportance("C4", Estimate(-0.0001, -math.inf, math.inf), Estimate(math.nan, math.nan, math.nan)),
]
PAIRS = [FieldPair(("I1", "C2"), 0.1234, -0.0567), FieldPair(("C2", "C4"), 0.0123, 0.4)]
EFFECTS = FieldEffects(1234, IMPORTANCE, PAIRS)
EVIL = "<script>alert(1)</script>$x^2$\x00&"


@pytest.fixture(scope="module")
def pages(dataset, tmp_path_factory):
    """Return a function (run, with_split, effects, **changes of the evaluation) from these to the path of a report."""
    meta = DatasetMeta.load(dataset)
    sparse_ids, _, labels = read_rows(dataset, "valid")
    probabilities = np.clip(0.3 + 0.2 * labels + np.random.default_rng(1).normal(0, 0.1, len(labels)), 0, 1)
    slices = FieldSlices(meta, ProcessGroup(), informative=True)
    slices.add(sparse_ids, labels)
    by_field = slices.metrics(probabilities.astype(np.float32))
    first = next(iter(by_field))
    by_field[first] = by_field[first].with_columns(value=by_field[first]["value"].replace("(missing)", EVIL))
    metrics = compute_metrics(labels, probabilities)
    evaluation = Evaluation("valid", labels, probabilities.astype(np.float32), metrics, 0.1, by_field)
    network = DeepFMConfig(meta.vocabulary_size, 7, 3, 2, (3,))
    meta = dataclasses.replace(meta, bad_lines={"too few columns": 3, "bad label": 0})

    def write(run, with_split=True, effects=EFFECTS, **changes):
        folder = tmp_path_factory.mktemp("run")
        if run:
            (folder / "run.json").write_text(json.dumps(run))
        model = ModelFolder(folder, network, DataIdentity.of_dataset(meta))
        checkpoint = Checkpoint(model, "deepfm-2_20.ckpt", "5ee" * 21 + "d", 2, 40, VALIDATIONS[1]["valid"], {})
        path = folder / "deeper" / "report.html"
        evaluated = dataclasses.replace(evaluation, **changes) if with_split else None
        write_report(path, evaluated, checkpoint, meta, effects if with_split else None)
        return path

    write.evaluation = evaluation
    return write


@pytest.fixture(scope="module")
def run_record():
    return {
        "command": "python train.py --seed=3",
        "settings": {"seed": 3, "learning_rate": 0.001},
        "versions": {"python": "3.11.7", "mindspore": "2.10.0", "git_commit": None},
        "host": {"name": "host", "system": "Linux", "cores": 2, "device": "CPU", "ranks": 2},
        "history": VALIDATIONS,
        "losses": LOSSES,
    }


@pytest.fixture(scope="module")
def report(pages, run_record):
    return pages(run_record)


@pytest.fixture
def open_page(browser):
    """Return a function that opens a report: it returns the browser's page, console messages and requested URLs."""
    opened = []

    def open_path(path, width=1200, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.append(page)
        messages, requests = [], []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        return page, messages, requests

    yield open_path
    for page in opened:
        page.close()


class _Ids(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.references = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        for name, value in attributes:
            if name in ("href", "xlink:href"):
                assert value.startswith(("#", "data:")), value
                self.references |= {value[1:]} if value.startswith("#") else set()
            self.references |= set(re.findall(r"url\(#(.*?)\)", value or ""))


def test_ids_are_unique_and_nothing_is_outside(report):
    found = _Ids(report.read_text())
    assert len(found.ids) == len(set(found.ids)) > 100
    assert found.references <= set(found.ids)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_console_messages_and_requests(report, open_page, scheme):
    page, messages, requests = open_page(report, scheme=scheme)
    assert messages == []
    assert requests == [report.as_uri()]
    picture = matplotlib.image.imread(io.BytesIO(page.screenshot(full_page=True)))[:, :, :3]
    corner = picture[0, 0]
    assert corner.mean() > 0.9 if scheme == "light" else corner.mean() < 0.2
    assert (np.abs(picture - corner).max(axis=2) > 0.2).mean() > 0.02  # not blank


def test_every_plot_is_drawn_in_the_colours_of_the_page(report, open_page):
    page, *_ = open_page(report, scheme="dark")
    plots = page.locator("svg").all()
    assert len(plots) == 3 + 3 + 6 + 2
    for plot in plots:
        picture = matplotlib.image.imread(io.BytesIO(plot.screenshot()))[:, :, :3]
        for color in ((0x6C, 0xB4, 0xFF), (0xE8, 0xEB, 0xEE)):  # --first and --ink in the dark
            assert (np.abs(picture - np.array(color) / 255).max(axis=2) < 0.02).sum() > 20
    assert all(plot.get_attribute("role") == "img" and len(plot.get_attribute("aria-label")) > 20 for plot in plots)


def test_on_a_phone_only_tables_are_wider_than_the_screen(report, open_page):
    page, *_ = open_page(report, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sizes = page.evaluate("[...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)")
    assert min(sizes) > 8  # pixels


def test_the_colours_stand_out(report):
    # WCAG 2.2: 4.5 : 1 for text, 3 : 1 for graphics.
    names = "page", "panel", "ink", "faint", "line", "first", "second"
    pattern = " ".join(rf"--{name}: (\S+);" for name in names)
    schemes = re.findall(pattern, report.read_text())
    assert len(schemes) == 2
    for page, panel, ink, faint, _, first, second in schemes:
        for ground in (page, panel):
            assert contrast(ink, ground) > 7
            assert min(contrast(color, ground) for color in (first, second)) > 4.5
            assert contrast(faint, ground) > 3


def contrast(one, other):
    """Return the contrast ratio of two colours #rrggbb, by WCAG 2.2."""

    def luminance(color):
        parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_page_shows_metrics_training_data_and_run(report, pages, open_page):
    page, *_ = open_page(report)
    text = page.inner_text("body")
    metrics = pages.evaluation.metrics
    for name in ("auc", "log_loss", "calibration", "normalised_entropy", "calibration_error"):
        assert f"{metrics[name]:.4f}" in text
    assert f"95 %: {metrics['auc_interval'][0]:.4f} to {metrics['auc_interval'][1]:.4f}" in text
    assert "goes from 0.5970 to 0.4200; the validation log loss from 0.5500 to 0.5200." in text
    assert "The one with the lowest log loss, after 2.00 epochs, has 0.7300." in text
    assert "The learning rate of Adam is 0.001." in text
    assert "Malformed lines, left out: 3 (too few columns) of 1,203." in text
    assert "python train.py --seed=3" in text
    assert "CPU, 2 process(es), 2 cores, Linux" in text
    assert "5ee5ee" in text
    assert "git_commit" not in text
    page.get_by_text("Training configuration").click()
    assert "learning_rate\t0.001" in page.inner_text("body")


def test_metrics_before_a_recalibration_stand_next_to_those_after_it(report, pages, run_record):
    before = {**pages.evaluation.metrics, "log_loss": 0.6543, "calibration_error": 0.1234}
    text = pages(run_record, before=before).read_text()
    assert "nats per row; 0.6543 before recalibration</small>" in text
    assert "expected, 15 bins; 0.1234 before recalibration</small>" in text
    assert "recalibration" not in report.read_text()


def test_the_page_shows_which_field_matters(report, pages, run_record, open_page):
    page, messages, _ = open_page(report)
    assert messages == []
    section = page.locator("#fields")
    text = section.inner_text()
    assert "Which field matters" in text
    assert "Measured on 1,234 rows of the validation split." in text
    assert "share their importance" in text  # what correlated fields do
    assert "I1 matters most: permuted, it raises the log loss by 0.0312 (95 %: 0.0212 to 0.0412)." in text
    assert "The intervals of 1 of 3 fields are above 0." in text
    assert "that of I1 * C2 has a standard deviation of 0.1234." in text
    for summary in section.locator("summary").all():
        summary.click()
    text = section.inner_text()
    assert "I1\t0.03120\t0.01000\t0.02140\t0.00100" in text
    assert "C4\t-0.00010\tinf\t\t" in text  # too few rows for an interval, and one class
    assert "C2 * C4\t0.0123\t0.4000" in text
    assert page.locator("nav a", has_text="Fields").get_attribute("href") == "#fields"
    page, *_ = open_page(pages(run_record, effects=dataclasses.replace(EFFECTS, pairs=[])))
    assert page.locator("#fields figure").count() == 1
    assert 'id="fields"' not in pages(run_record, effects=None).read_text()


def test_names_of_fields_are_text_and_nothing_else(pages, run_record, open_page):
    evil = dataclasses.replace(IMPORTANCE[0], field=EVIL)
    page, messages, _ = open_page(pages(run_record, effects=FieldEffects(9, [evil], [FieldPair((EVIL, "I1"), 1, 0)])))
    assert (page.locator("script").count(), messages) == (0, [])
    assert page.locator("#fields svg text", has_text=printable(EVIL)).count() == 2


def test_values_of_the_data_are_text_and_nothing_else(report, open_page):
    page, messages, _ = open_page(report)
    assert messages == []  # no dialog, no script refused
    assert page.locator("script").count() == 0
    assert page.locator("svg text", has_text=printable(EVIL)).count() == 1
    assert printable(EVIL) == "<script>alert(1…"
    assert printable("$\x00\n") == "$��"


def test_without_a_split_or_a_run_json_the_page_has_the_rest(pages, run_record, open_page):
    page, messages, _ = open_page(pages(run_record, with_split=False))
    assert (page.locator("svg").count(), page.locator("#metrics").count(), messages) == (3, 0, [])
    page, messages, _ = open_page(pages(None))
    assert (page.locator("svg").count(), page.locator("#training").count(), messages) == (11, 0, [])
    run_record = run_record | {"history": [{**VALIDATIONS[0], "valid": {}}]}
    page, messages, _ = open_page(pages(run_record, with_split=False))
    assert (page.locator("svg").count(), messages) == (2, [])


def test_rows_that_all_weigh_0_have_no_plots(pages, run_record):
    labels, probabilities = pages.evaluation.labels, pages.evaluation.probabilities
    weights = np.zeros(len(labels), np.float32)
    metrics = compute_metrics(labels, probabilities, weights)
    text = pages(run_record, weights=weights, metrics=metrics, by_field={}).read_text()
    assert "sum of weights<strong>0</strong>" in text
    assert "<strong>nan</strong>" in text
    assert 'id="metrics"' not in text
