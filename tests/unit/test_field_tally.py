# SPDX-License-Identifier: Apache-2.0
"""Missing and OOV rates of scored rows, counted cell by cell for comparison, and the rule for drift."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from src.dataset_meta import DatasetMeta
from src.package.raw_encoding import RawEncoding
from src.preprocessing.encoder import FeatureEncoder
from src.scoring.field_tally import FieldCounter, FieldTally, compare_fields, is_drift
from tests.conftest import make_rows
from tests.raw_data import parse_text


@pytest.fixture(scope="module")
def encoding(dataset):
    return RawEncoding.of_dataset(DatasetMeta.load(dataset))


def tally_of(encoding, text):
    encoder = encoding.encoder()
    frame = parse_text(text, encoder.schema)
    return FieldCounter(encoder).count(frame, encoder.encode(frame)[0])


def test_rates_are_those_of_the_cells(encoding):
    text = make_rows(500, 3, 4, seed=9)
    tally = tally_of(encoding, text)
    rows = [line.split("\t")[1:] for line in text.split("\n")]
    assert tally.rows == 500
    assert tally.missing.tolist() == [sum(row[column] == "" for row in rows) for column in range(7)]
    vocabulary = encoding.encoder().vocabulary
    for column in range(4):
        kept = set(vocabulary.kept(f"C{column + 1}")["value"])
        assert tally.oov[3 + column] == sum(row[3 + column] not in kept for row in rows)


def test_a_missing_value_without_an_id_of_its_own_is_oov(encoding):
    encoder = encoding.encoder()
    vocabulary = type(encoder.vocabulary)(
        encoder.vocabulary.table.filter((pl.col("field") != "C1") | (pl.col("value") != ""))
    )
    encoder = FeatureEncoder(encoder.schema, encoder.dense_encoding, encoder.dense_scales, vocabulary)
    frame = parse_text("0\t1\t1\t1\t\ta\ta\ta", encoder.schema)
    tally = FieldCounter(encoder).count(frame, encoder.encode(frame)[0])
    assert (tally.missing[3], tally.oov[3]) == (1, 1)


def test_the_training_rows_have_the_rates_of_the_training(encoding):
    """Of all rows of the file, that is; those of training are four fifths of it."""
    tally = tally_of(encoding, make_rows(1203, 3, 4, seed=5))
    for each in compare_fields(tally, encoding):
        assert each.missing_rate == pytest.approx(each.training.missing_rate, abs=0.02)
        assert each.oov_rate == pytest.approx(each.training.oov_rate, abs=0.02)
        assert each.drifts() == []


def test_a_column_of_unseen_values_has_drifted(encoding):
    text = "\n".join("\t".join([*row.split("\t")[:-1], "new"]) for row in make_rows(500, 3, 4, seed=9).split("\n"))
    drifting = [each for each in compare_fields(tally_of(encoding, text), encoding) if each.drifts()]
    assert [each.training.name for each in drifting] == ["C4"]
    expected = drifting[0].training
    assert drifting[0].drifts() == [
        f"0.0% missing, {expected.missing_rate:.1%} in training",
        f"100.0% OOV, {expected.oov_rate:.1%} in training",
    ]


@pytest.mark.parametrize(
    ("rate", "expected", "rows", "drifts"),
    [
        (0.16, 0.10, 100_000, True),
        (0.14, 0.10, 100_000, False),  # less than 0.05 is not worth a warning, however certain it is
        (0.20, 0.10, 100, False),  # so many or more have the probability 2e-3
        (0.20, 0.10, 1000, True),
        (1.0, 0.03, 1, False),  # 0.03
        (1.0, 0.03, 4, True),  # 0.03^4 is 8e-7
        (1.0, 0.0, 1, False),
        (1.0, 0.0, 2, True),
        (0.0, 0.5, 16, False),  # 0.5^16 is 1.5e-5
        (0.0, 0.5, 17, True),
    ],
)
def test_drift_is_a_large_difference_that_chance_does_not_explain(rate, expected, rows, drifts):
    assert is_drift(rate, expected, rows) is drifts


def test_tallies_add_up(encoding):
    parts = [make_rows(100, 3, 4, seed=seed) for seed in (1, 2)]
    total = FieldTally.empty(7)
    for part in parts:
        total.add(tally_of(encoding, part))
    expected = tally_of(encoding, "\n".join(parts))
    for name, value in dataclasses.asdict(expected).items():
        assert np.array_equal(getattr(total, name), value)


def test_no_rows_are_not_compared(encoding):
    assert compare_fields(FieldTally.empty(7), encoding) == []
