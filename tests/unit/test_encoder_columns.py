# SPDX-License-Identifier: Apache-2.0
"""Floats and multi-valued categories in FeatureEncoder, against a reference that goes cell by cell."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.common.dense_encoding import DenseEncoding
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.lists import counted_values, longest_list
from src.preprocessing.schema import FieldSchema
from src.preprocessing.value_counts import count_values
from src.preprocessing.vocabulary import OOV
from tests.plain_encoder import LARGEST_OF_FLOATS, PlainEncoder
from tests.raw_data import parse_text

LISTS = {"tags": "|", "ads": " "}
SCHEMA = FieldSchema(
    ("visits",),
    ("site",),
    float_names=("price", "rate"),
    list_names=tuple(LISTS),
    list_separators=tuple(LISTS.values()),
)
NAMES = SCHEMA.value_names
FLOATS = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.0, 0.1, 5e-324, -5e-324, 1e-310, 1.7976931348623157e308, -1e300, 1e39, 2.0**53 + 2]),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "visits": st.one_of(st.none(), st.integers(-3, 30), st.integers(-(2**63) + 1, 2**63 - 1)),
            "price": FLOATS,
            "rate": FLOATS,
            "site": st.sampled_from(["", "a", "b", "05db9164"]),
            "tags": st.lists(st.sampled_from(["", "a", "b", "é", "05db9164", OOV]), max_size=7).map("|".join),
            "ads": st.sampled_from(["", " ", "x", "x y", "y  x ", "x|y", "z z z z"]),
        }
    ),
    min_size=1,
    max_size=12,
)


def text_of(rows):
    """Return rows as lines; a float is written with all of its digits."""
    cells = [["" if row[name] is None else str(row[name]) for name in NAMES] for row in rows]
    return "\n".join("\t".join(["1", *each]) for each in cells)


def fit(frames, encoding, threshold, most_values=64):
    counts = {
        name: count_values((counted_values(frame[name], LISTS) for frame in frames), 0, max_batch=7) for name in NAMES
    }
    lengths = {
        name: min(max(1, *(longest_list(frame[name], separator) for frame in frames)), most_values)
        for name, separator in LISTS.items()
    }
    return FeatureEncoder.fit(SCHEMA, counts, encoding, threshold, list_lengths=lengths)


def assert_agrees(encoder, oracle, frame, rows):
    sparse_ids, dense_values = encoder.encode(frame)
    assert (sparse_ids.dtype, dense_values.dtype) == (np.int32, np.float32)
    assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
    names = SCHEMA.dense_names if encoder.dense_encoding.has_dense_values else []
    for row, values in zip(rows, dense_values.tolist(), strict=True):
        for name, value, expected in zip(names, values, oracle.dense_values(row), strict=True):
            # Logarithms of up to 710 are exact to some 1e-13, whatever they are divided by.
            slack = 2e-6 + (0 if str(encoder.dense_encoding) == "max" else 1e-12 / oracle.scales[name][1])
            assert value == pytest.approx(expected, rel=2e-6, abs=slack)


@settings(max_examples=80, deadline=None)
@given(chunks=st.lists(ROWS, min_size=1, max_size=3), unseen=ROWS, encoding=st.sampled_from(DenseEncoding),
       threshold=st.integers(0, 2), most_values=st.integers(1, 4))  # fmt: skip
@example(chunks=[[{"visits": None, "price": None, "rate": None, "site": "", "tags": "", "ads": ""}]] * 2,
         unseen=[{"visits": 1, "price": 1e308, "rate": -0.0, "site": "a", "tags": "a|b", "ads": "x y"}],
         encoding=DenseEncoding.LOG_BIN, threshold=0, most_values=4)  # fmt: skip
@example(chunks=[[{"visits": 1, "price": 5e-324, "rate": 2.5, "site": "", "tags": "|||", "ads": "x"}] * 3],
         unseen=[{"visits": 1, "price": 1e300, "rate": -1e300, "site": "a", "tags": "|a", "ads": ""}],
         encoding=DenseEncoding.MAX, threshold=0, most_values=4)  # fmt: skip
def test_any_rows_are_encoded_as_cell_by_cell(chunks, unseen, encoding, threshold, most_values):
    frames = [parse_text(text_of(rows), SCHEMA) for rows in chunks]
    encoder = fit(frames, encoding, threshold, most_values)
    train = [*itertools.chain(*chunks)]
    oracle = PlainEncoder(
        train, ("visits",), ("price", "rate"), ("site",), LISTS, encoding, threshold, encoder.list_lengths
    )
    assert len(encoder.vocabulary) == oracle.size
    for frame, rows in zip(frames, chunks):
        assert_agrees(encoder, oracle, frame, rows)
    assert_agrees(encoder, oracle, parse_text(text_of(unseen), SCHEMA), unseen)
    assert np.isfinite(encoder.encode(parse_text(text_of(unseen), SCHEMA))[1]).all()


@pytest.mark.parametrize("encoding", DenseEncoding)
def test_many_rows_are_encoded_as_cell_by_cell(encoding):
    random = np.random.default_rng(4)
    rows = [
        {
            "visits": int(random.geometric(0.05)),
            "price": round(float(random.lognormal(2, 1)), 2),
            "rate": None if random.random() < 0.1 else float(random.normal()),
            "site": f"s{random.geometric(0.1)}",
            "tags": "|".join(f"t{value}" for value in random.geometric(0.2, random.integers(0, 6))),
            "ads": " ".join(f"{value:08x}" for value in random.geometric(0.1, random.integers(0, 3))),
        }
        for _ in range(3000)
    ]
    frames = [parse_text(text_of(part), SCHEMA) for part in (rows[:900], rows[900:2000])]
    encoder = fit(frames, encoding, threshold=5, most_values=4)
    oracle = PlainEncoder(
        rows[:2000], ("visits",), ("price", "rate"), ("site",), LISTS, encoding, 5, encoder.list_lengths
    )
    if encoding.has_buckets:
        assert encoder.bucket_edges == oracle.edges and len(oracle.edges["rate"]) == 99
    assert_agrees(encoder, oracle, parse_text(text_of(rows[2000:]), SCHEMA), rows[2000:])


def frame_of(**columns):
    """Return the raw columns of rows of which all others are missing."""
    count = len(next(iter(columns.values())))
    missing = {"visits": -(2**31), "price": math.nan, "rate": math.nan, "site": "", "tags": "", "ads": ""}
    types = {"visits": pl.Int32, "price": pl.Float64, "rate": pl.Float64}
    return pl.DataFrame(
        [pl.Series(name, columns.get(name, [missing[name]] * count), types.get(name, pl.String)) for name in NAMES]
    )


def test_a_missing_float_is_a_zero_and_a_bucket_of_its_own():
    encoder = fit([frame_of(price=[1.0, 2.0, math.nan, 3.0])], DenseEncoding.LOG_BUCKET, 0)
    ids, values = encoder.encode(frame_of(price=[math.nan, 2.0]))
    position = encoder.sparse_names.index("price")
    assert ids[0, position] == encoder.vocabulary.missing_id("price") != ids[1, position]
    assert values[0, 1] == 0


def test_a_float_much_larger_than_those_of_the_training_is_clipped():
    encoder = fit([frame_of(price=[0.5, -2.0])], DenseEncoding.MAX, 0)
    _, values = encoder.encode(frame_of(price=[1e300, -1e300, 1.7e308, 2000.0, 1000.0, 0.0]))
    assert values[:, 1].tolist() == [LARGEST_OF_FLOATS, -LARGEST_OF_FLOATS, LARGEST_OF_FLOATS, 1e3, 500, 0]


def test_an_integer_is_not_clipped():
    encoder = fit([frame_of(visits=[1, 1])], DenseEncoding.MAX, 0)
    frame = frame_of(visits=[2**31 - 1])
    assert encoder.encode(frame)[1][0, 0] == 2.0**31


def test_values_after_the_longest_list_of_the_training_are_left_out():
    encoder = fit([frame_of(tags=["a|b", "b", ""])], DenseEncoding.MAX, 0)
    ids = dict(encoder.vocabulary.kept("tags").select("value", "id").rows())
    found, _ = encoder.encode(frame_of(tags=["b|a|b", "x|b|a", "", "||a||", "a|a"]))
    start = encoder.sparse_names.index("tags")
    oov = encoder.vocabulary.oov_id("tags")
    expected = [[ids["b"], ids["a"]], [oov, ids["b"]], [ids[""], -1], [ids["a"], -1], [ids["a"], ids["a"]]]
    assert found[:, start : start + 2].tolist() == expected


def test_a_column_without_values_in_the_training_has_one_id_column():
    encoder = fit([frame_of(tags=["", "|"])], DenseEncoding.MAX, 0)
    found, _ = encoder.encode(frame_of(tags=["", "a|b"]))
    start = encoder.sparse_names.index("tags")
    assert encoder.list_lengths["tags"] == 1
    assert found[:, start].tolist() == [encoder.vocabulary.missing_id("tags"), encoder.vocabulary.oov_id("tags")]


def test_no_rows_give_no_rows():
    encoder = fit([frame_of(tags=["a|b", "b"], price=[1.0, 2.0])], DenseEncoding.LOG_BUCKET, 0)
    ids, values = encoder.encode(frame_of(tags=["a"])[:0])
    assert (ids.shape, values.shape) == ((0, len(encoder.sparse_names) + 1), (0, 3))
