# SPDX-License-Identifier: Apache-2.0
"""Packages of a log with integers, floats, categories and multi-valued ones: every way to score a row agrees."""

import csv
import io
import math
import random

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.checkpoint import find_checkpoint
from src.dataset_meta import DatasetMeta
from src.evaluation.recalibration import Recalibration
from src.package import BadRowsError, load_model
from src.package.few_rows import read_columns, score_columns
from src.package.package import MINDIR_BATCH_ROWS
from src.package.rows import read_frame
from src.package.runtime import MindIRNetwork
from src.preprocess_data import main as preprocess
from src.scoring.field_tally import FieldCounter
from tests.numpy_deepfm import NumpyDeepFM
from tests.packages import checkpoint_of, write_random_package
from tests.plain_encoder import LARGEST_OF_FLOATS, values_of
from tests.pooled_tables import PooledTables

SCHEMA = """
label: {column: click, click: ["yes"]}
weight: weight
integers: [visits]
floats: [price, rate, nothing]
categories: [site]
multi_valued: {tags: "|", none: " ", ads: ";"}
columns: [weight, price, site, tags, click, skipped, visits, ads, rate, none, nothing]
separator: ","
missing: ["NULL"]
"""
COLUMNS = ("weight", "price", "site", "tags", "click", "skipped", "visits", "ads", "rate", "none", "nothing")
LISTS = {"tags": "|", "none": " ", "ads": ";"}
RECALIBRATION = Recalibration("isotonic", (-3.0, 0.0, 2.0), (-2.5, -0.2, 1.0))
ENCODINGS = {"log+bin": RECALIBRATION, "max": None, "bin": None, "bucket": None}
TOLERANCE = 1e-6


def draw_row(dice):
    """Return the cells of a row, without missing words."""
    return {
        "weight": dice.choice(["0.5", "2"]),
        "price": "" if dice.random() < 0.1 else repr(dice.lognormvariate(2, 1)),
        "site": dice.choice(["", "a", "é", "x,y", 'say "z"', "05db9164"]),
        "tags": "|".join(f"t{min(int(dice.expovariate(0.4)), 9)}" for _ in range(dice.randint(0, 4))),
        "click": dice.choice(["yes", "no", "no"]),
        "skipped": "?",
        "visits": dice.choice(["", "NULL", str(dice.randint(-2, 40))]),
        "ads": ";".join(dice.choice(["05db9164", "68fd1e64", "b"]) for _ in range(dice.randint(0, 2))),
        "rate": dice.choice(["NULL", "0", "0.25", str(round(dice.gauss(0, 1), 2))]),
        "none": dice.choice(["", " ", "NULL"]),
        "nothing": dice.choice(["", "NULL"]),
    }


def as_line(cells):
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def write_data(folder, encoding):
    """Preprocess 2,000 rows; return the DatasetMeta."""
    dice = random.Random(6)
    lines = [as_line(draw_row(dice).values()) for _ in range(2000)]
    (folder / "log.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    preprocess(
        [
            f"--data_path={folder / 'log.csv'}",
            f"--schema_path={folder / 'schema.yaml'}",
            f"--output_dir={folder / 'mindrecord'}",
            "--threshold=3",
            "--line_per_sample=50",
            "--train_line_count=0",
            f"--dense_encoding={encoding}",
        ]
    )
    return DatasetMeta.load(folder / "mindrecord")


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory, cpu):
    """The folders of the packages by encoding."""
    found = {}
    for encoding, recalibration in ENCODINGS.items():
        folder = tmp_path_factory.mktemp("columns")
        found[encoding] = write_random_package(
            folder / "model", write_data(folder, encoding), recalibration, has_statistics=encoding == "log+bin"
        ).path
    return found


@pytest.fixture(scope="module")
def models(folders):
    """The models by encoding."""
    return {encoding: load_model(folder) for encoding, folder in folders.items()}


def lines_of(count, seed):
    dice = random.Random(seed)
    return [as_line(draw_row(dice).values()) for _ in range(count)]


NUMBERS = (
    *("", "NULL", "0", "-0", "-0.0", "0.25", "1e300", "-1e300", "1.7976931348623157e308", "5e-324", ".5", "5.", "+1"),
    *("1e400", "nan", "inf", " 1", "1 ", "1_0", "1\r", "\r", "x", "1,5", "\u0661", "-", ".", "1e", "0x1", "NULL\r"),
)
TEXTS = ("", "NULL", "a", "é", "x,y", 'say "z"', "05db9164", "unseen", "a\r", " a", "NULL\r", "\x00", "ffffffff")
VALUES = ("t0", "t1", "05db9164", "68fd1e64", "b", "", "unseen", "NULL", " ", "é")
CELLS = {
    "weight": st.sampled_from(["1", "", "x", "-1"]),
    "price": st.one_of(st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False).map(repr)),
    "site": st.sampled_from(TEXTS),
    "tags": st.lists(st.sampled_from(VALUES), max_size=7).map("|".join),
    "click": st.sampled_from(["yes", "no", "0", "", "NULL"]),
    "skipped": st.sampled_from(["", "x", "1,2"]),
    "visits": st.one_of(st.sampled_from(NUMBERS), st.integers(-(2**63), 2**63).map(str)),
    "ads": st.lists(st.sampled_from(VALUES), max_size=4).map(";".join),
    "rate": st.one_of(st.sampled_from(NUMBERS), st.floats(-3, 3).map(repr)),
    "none": st.sampled_from(["", " ", "a", "a b c"]),
    "nothing": st.sampled_from(["", "NULL", "1", "-1e308"]),
}
QUOTED = st.lists(st.booleans(), min_size=len(COLUMNS), max_size=len(COLUMNS))


@st.composite
def lines(draw):
    cells = [draw(CELLS[name]) for name in COLUMNS]
    quoted = draw(QUOTED) if draw(st.booleans()) else [False] * len(cells)
    parts = [
        '"' + cell.replace('"', '""') + '"' if is_quoted or "," in cell or '"' in cell else cell
        for cell, is_quoted in zip(cells, quoted)
    ]
    if draw(st.booleans()):
        del parts[COLUMNS.index("click")]
    return ",".join(parts)


def answer_of(score):
    """Return probabilities, or the malformed rows and their number."""
    try:
        return score()
    except BadRowsError as error:
        return error.faults, error.count


def rounding_of_recalibration(recalibration, explanation):
    """Return by how much one unit in the last place of the network's probability, float32, moves the recalibrated."""
    if recalibration is None:
        return 0
    probabilities = (1 / (1 + np.exp(explanation.recalibration - explanation.logits))).astype(np.float32)
    low, high = (recalibration.apply(np.nextafter(probabilities, np.float32(end))) for end in (0, 1))
    return (high - low).max()


@settings(max_examples=250, deadline=None)
@given(rows=st.lists(lines(), min_size=1, max_size=4), encoding=st.sampled_from(list(ENCODINGS)))
@example(rows=["1,1e300,a,t0|t1,?,5,b,1e300,,1e308"], encoding="max")
@example(rows=['1," 1",a,t0|t1,?,5,b,0,,'], encoding="max")
@example(rows=['1,1,a,t0|t1,?," 5",b,0,,'], encoding="bucket")
@example(rows=['1,,"a\r",,yes,,,,,,'], encoding="max")
@example(rows=['1,1,a,"t0|t1\r",yes,?,5,b,0,,"\r"'], encoding="max")
@example(rows=["1,0.0,a,,yes,,4446,b,0,,1"], encoding="log+bin")  # a probability of the network within 1e-6 of 1
def test_any_few_rows_are_scored_or_refused_as_many_are(models, rows, encoding):
    model = models[encoding]
    found = answer_of(lambda: model.predict(rows))
    expected = answer_of(lambda: model.score(model.read(rows)))
    if isinstance(expected, tuple):
        assert found == expected
        return
    assert np.isfinite(expected).all()
    explanation = model.explain(rows)
    # The squares of the dense values, float32, cancel out in the logit, but their rounding does not.
    largest = np.abs(model.encode(model.read(rows))[1]).max(initial=1)
    tolerance = 1e-5 + 1e-7 * largest**2 + rounding_of_recalibration(ENCODINGS[encoding], explanation)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(explanation.probabilities, expected, rtol=0, atol=tolerance)
    frame = explanation.to_frame()
    parts = [frame[name].to_list() for name in frame.columns[:-1] if frame.schema[name].is_float()]
    assert [sum(row) for row in zip(*parts)] == frame["logit"].to_list()


def inputs_of(rows, lengths):
    """Return the inputs of model.onnx for rows of cells by name, as a program in any language would make them."""

    def column(name, missing, parse, dtype):
        cells = [row[name] if row[name] != "NULL" else "" for row in rows]
        return np.array([[parse(cell) if cell else missing] for cell in cells], dtype)

    inputs = {"visits": column("visits", -(2**63), int, np.int64), "site": column("site", "", str, object)}
    for name in ("price", "rate", "nothing"):
        inputs[name] = column(name, math.nan, float, np.float64)
    for name, separator in LISTS.items():
        cells = [row[name] if row[name] != "NULL" else "" for row in rows]
        values = [[*values_of(cell, separator)[: lengths[name]]] for cell in cells]
        inputs[name] = np.array([[*each, *[""] * (lengths[name] - len(each))] for each in values], object)
    return inputs


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_program_in_any_language_gets_the_same_from_the_onnx_file(folders, models, encoding):
    model, dice = models[encoding], random.Random(11)
    rows = [draw_row(dice) for _ in range(300)]
    expected = model.score(model.read([as_line(row.values()) for row in rows]))
    session = onnxruntime.InferenceSession(folders[encoding] / "model.onnx")
    schema = model.encoder.schema
    assert [each.name for each in session.get_inputs()] == [*schema.value_names]
    inputs = inputs_of(rows, model.encoder.list_lengths)
    np.testing.assert_allclose(session.run(None, inputs)[0][:, 0], expected, rtol=0, atol=TOLERANCE)
    few = score_columns(model.network, read_columns([as_line(row.values()) for row in rows], schema), model.encoder)
    np.testing.assert_allclose(few, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_probabilities_are_those_of_the_formula(folders, models, encoding):
    """In float64, from the weights of the checkpoint, with the mean of each multi-valued field as a row of its own."""
    model, rows = models[encoding], lines_of(200, 12)
    sparse_ids, dense_values = model.encode(model.read(rows))
    weights = weights_of(checkpoint_of(folders[encoding]))
    tables = PooledTables(weights, sparse_ids, tuple(model.encoder.list_lengths.values()))
    logits = NumpyDeepFM(tables.weights, 2).logits(tables.ids, dense_values.astype(np.float64))
    expected = 1 / (1 + np.exp(-logits))
    if ENCODINGS[encoding] is not None:
        expected = ENCODINGS[encoding].apply(expected.astype(np.float32))
    np.testing.assert_allclose(model.predict(rows), expected, rtol=0, atol=1e-5)


def weights_of(folder):
    """Return the weights of a checkpoint; those of no dense fields, too."""
    network = find_checkpoint(folder).load_network()
    weights = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    if network.has_dense_fields:
        return weights
    size, first = weights["embedding"].shape[1], weights["deep.first.bias"].shape[0]
    empty = {"dense_linear": (0, 1), "dense_embedding": (0, size), "deep.dense_weight": (0, size, first)}
    return weights | {name: np.zeros(shape) for name, shape in empty.items()}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_mindir_and_the_checkpoint_give_the_same(folders, models, encoding):
    model, rows = models[encoding], lines_of(150, 13)
    encoded = model.encode(model.read(rows))
    expected = model.network(*encoded)
    mindir = MindIRNetwork(folders[encoding] / "model.mindir", MINDIR_BATCH_ROWS, ENCODINGS[encoding])
    np.testing.assert_allclose(mindir(*encoded), expected, rtol=0, atol=1e-5)
    if ENCODINGS[encoding] is None:
        np.testing.assert_allclose(
            load_model(checkpoint_of(folders[encoding])).predict(rows), expected, rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_data_frame_of_typed_columns_is_scored_as_its_lines(models, encoding):
    model, dice = models[encoding], random.Random(14)
    rows = [{name: cell if cell != "NULL" else "" for name, cell in draw_row(dice).items()} for _ in range(200)]
    expected = model.predict([as_line(row.values()) for row in rows])
    types = {"visits": pl.Int64, "price": pl.Float64, "rate": pl.Float64, "nothing": pl.Float64}
    texts = pl.DataFrame(rows).with_columns(pl.when(pl.all() != "").then(pl.all()))
    typed = texts.cast(types)
    lists = typed.with_columns(pl.col(name).str.split(separator) for name, separator in LISTS.items())
    as_pandas = pd.DataFrame(typed.to_dict(as_series=False))
    for frame in (texts, typed, lists, as_pandas, typed.with_columns(pl.lit(None).alias("nothing"))):
        np.testing.assert_allclose(model.predict(frame), expected, rtol=0, atol=TOLERANCE)
    single = typed.with_columns(pl.col("rate", "price").cast(pl.Float32))
    widened = typed.with_columns(pl.col("rate", "price").cast(pl.Float32).cast(pl.Float64))
    assert np.array_equal(model.predict(single), model.predict(widened))


def test_a_float_in_a_data_frame_is_finite_or_missing(models):
    schema = models["max"].encoder.schema
    row = {"visits": 1, "site": "a", "price": 1.0, "rate": 1.0, "nothing": math.nan, "tags": "", "none": "", "ads": ""}
    assert math.isnan(read_frame(pl.DataFrame([row]), schema)["nothing"][0])
    with pytest.raises(BadRowsError, match=r"^row 2: rate is inf; a float is a finite number$"):
        read_frame(pl.DataFrame([row, row | {"rate": math.inf}]), schema)
    with pytest.raises(BadRowsError, match=r"^row 1: rate is 1,5; a float is a finite number$"):
        read_frame(pl.DataFrame([row | {"rate": "1,5"}]), schema)


def test_a_float_of_any_size_is_scored(models):
    model = models["max"]
    rows = [f"1,{price},a,t0,no,?,1,b,0.25,,{price}" for price in ("1e308", "-1e308", "1e39", "1e-320", "-0.0")]
    _, values = model.encode(model.read(rows))
    assert np.abs(values).max() == LARGEST_OF_FLOATS
    probabilities = model.score(model.read(rows))
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(model.predict(rows), probabilities, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(model.explain(rows).probabilities, probabilities, rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_missing_and_oov_values_are_counted_cell_by_cell(models, encoding):
    model, dice = models[encoding], random.Random(15)
    rows = [draw_row(dice) | {"tags": dice.choice(["unseen|t0", "t1|t0|unseen", "", "|"])} for _ in range(300)]
    frame = model.read([as_line(row.values()) for row in rows])
    counter = FieldCounter(model.encoder)
    tally = counter.count(frame, model.encode(frame)[0])
    by_name = dict(zip(counter.names, zip(tally.missing.tolist(), tally.values.tolist(), tally.oov.tolist())))
    vocabulary, length = model.encoder.vocabulary, model.encoder.list_lengths["tags"]
    used = [value for row in rows for value in values_of(row["tags"], "|")[:length]]
    kept = set(vocabulary.kept("tags")["value"])
    missing = sum(row["tags"] in ("", "|") for row in rows)
    assert by_name["tags"] == (missing, len(used), sum(value not in kept for value in used))
    assert by_name["price"][:2] == (sum(row["price"] == "" for row in rows), 300)
    assert by_name["nothing"] == (300, 300, 0)
