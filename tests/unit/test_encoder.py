# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.common.dense_encoding import DenseEncoding
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.raw_columns import concat
from src.preprocessing.schema import FieldSchema
from src.preprocessing.value_counts import count_values
from src.preprocessing.vocabulary import OOV, Vocabulary
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import parse_text


def fit(text, schema, dense_encoding, threshold, chunks=1):
    frame = parse_text(text, schema)
    return fit_frames(list(frame.iter_slices(-(-frame.height // chunks))), schema, dense_encoding, threshold)


def fit_frames(frames, schema, dense_encoding, threshold):
    counts = {name: count_values((frame[name] for frame in frames), 0, max_batch=100) for name in schema.counted_names}
    return FeatureEncoder.fit(schema, counts, dense_encoding, threshold)


@pytest.mark.parametrize("dense_encoding", DenseEncoding)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_encoding_agrees_with_the_row_by_row_reference(dense_encoding, ending):
    schema = FieldSchema.criteo(3, 4)
    train_text = make_rows(700, 3, 4, 1, ending)
    test_text = make_rows(300, 3, 4, 2, ending) + f"{ending}1\t999999\t-77\t\tnever\tseen\tbefore\t"
    encoder = fit(train_text, schema, dense_encoding, threshold=5)
    train_rows = [row for _, row in oracles.parse_file(train_text.encode(), 3, 4)[0]]
    test_rows = [row for _, row in oracles.parse_file(test_text.encode(), 3, 4)[0]]
    oracle = oracles.Encoder(train_rows, 3, dense_encoding, threshold=5)
    for text, rows in ((train_text, train_rows), (test_text, test_rows)):
        sparse_ids, dense_values = encoder.encode(parse_text(text, schema))
        assert sparse_ids.dtype == np.int32
        assert dense_values.dtype == np.float32
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        np.testing.assert_allclose(
            dense_values,
            np.array([oracle.dense_values(row) for row in rows]).reshape(dense_values.shape),
            rtol=2e-6,
            atol=2e-6,
        )
    assert len(encoder.vocabulary) == oracle.vocabulary_size
    assert any(0 < id_ < oracle.field_count for id_ in encoder.encode(parse_text(test_text, schema))[0][-1])


def test_a_value_as_frequent_as_the_threshold_is_dropped():
    encoder = fit(
        "\n".join(["1\ta"] * 100 + ["1\tb"] * 101), FieldSchema.criteo(0, 1), DenseEncoding.MAX, threshold=100
    )
    assert encoder.vocabulary.table["value"].to_list() == [OOV, "b"]


def test_codes_and_text_of_one_column_are_one_vocabulary():
    # The first and the last chunk hold nothing but codes, the second does not, in another the text has upper case.
    texts = (
        ["05db9164", "", "05db9164", "68fd1e64"],
        ["05db9164", "x", "", "68fd1e64"],
        ["68FD1E64", "68fd1e64"],
        ["", "x1"],
    )
    schema = FieldSchema.criteo(0, 1)
    frames = [parse_text("\n".join(f"1\t{text}" for text in chunk), schema) for chunk in texts]
    assert [frame.schema["C1"] for frame in frames] == [pl.UInt32, pl.String, pl.String, pl.String]
    encoder = fit_frames(frames, schema, DenseEncoding.MAX, threshold=1)
    expected = [(OOV, 0, 3), ("", 1, 3), ("05db9164", 2, 3), ("68fd1e64", 3, 3)]
    assert encoder.vocabulary.table.select("value", "id", "count").rows() == expected
    ids = {text: id_ for text, id_, _ in expected}
    for chunk, frame in zip(texts, frames):
        assert encoder.encode(frame)[0].ravel().tolist() == [ids.get(text, 0) for text in chunk]


def test_a_field_without_kept_values_has_its_oov_id_alone():
    schema = FieldSchema.criteo(0, 2)
    encoder = fit("1\ta\tx\n0\tb\tx", schema, DenseEncoding.MAX, threshold=1)
    sparse_ids, dense_values = encoder.encode(parse_text("1\ta\tx\n1\tc\ty", schema))
    assert sparse_ids.tolist() == [[0, 2], [0, 1]]
    assert dense_values.shape == (2, 0)


def test_scales_by_hand():
    # max: the largest magnitude is 8.  log: log1p of 0 and 3 and -(log1p of 8).
    text = "1\t0\tx\n0\t3\tx\n1\t-8\tx\n0\t\tx"
    schema = FieldSchema.criteo(1, 1)
    frame = parse_text(text, schema)
    assert fit(text, schema, DenseEncoding.MAX, 0).encode(frame)[1].ravel().tolist() == [0, 3 / 8, -1, 0]
    logs = [0, math.log(4), -math.log(9)]
    mean = sum(logs) / 3
    deviation = math.sqrt(sum((value - mean) ** 2 for value in logs) / 3)
    expected = [(value - mean) / deviation for value in logs] + [0]
    assert fit(text, schema, DenseEncoding.LOG, 0).encode(frame)[1].ravel() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dense_encoding", [DenseEncoding.MAX, DenseEncoding.LOG])
@pytest.mark.parametrize("value", ["", "0", "7"])
def test_a_constant_or_empty_column_gives_finite_values(dense_encoding, value):
    text, schema = f"1\t{value}\tx\n0\t{value}\tx", FieldSchema.criteo(1, 1)
    assert np.isfinite(fit(text, schema, dense_encoding, 0).encode(parse_text(text, schema))[1]).all()


def test_the_result_does_not_depend_on_the_chunks():
    text, schema = make_rows(400, 3, 4, 6), FieldSchema.criteo(3, 4)
    one, many = fit(text, schema, DenseEncoding.LOG_BUCKET, 2), fit(text, schema, DenseEncoding.LOG_BUCKET, 2, chunks=7)
    assert one.vocabulary.table.equals(many.vocabulary.table)
    assert one.dense_scales == many.dense_scales


EDGES = (
    0,
    1,
    2,
    3,
    4,
    5,
    2**14 - 1,
    2**14,
    2**14 + 1,
    2**31 - 1,
    2**31,
    2**31 + 1,
    2**32 - 1,
    2**32,
    2**53 + 1,
    2**63 - 1,
)
INTEGERS = st.one_of(
    st.none(),
    st.sampled_from([*EDGES, *(-edge for edge in EDGES)]),
    st.integers(-20, 20),
    st.integers(-(2**31) + 1, 2**31 - 1),
    st.integers(-(2**63) + 1, 2**63 - 1),
)
STRANGE_TEXTS = (
    "", OOV, "<oov>", "null", "NaN", "\\N", "None", "1", "-1", "21", "ffffffff", "00000000", "0000000a", "FFFFFFFF",
    " x", "x ", "  ", '"', '"q"', "'", "a,b", "#", "\ufeff", "a\u2028b", "\u2029", "a\x85", "\x0b", "\x0cx", "\x1c",
    "\x1d\x1e", "\x00", "a\x00", "a\rb", "\x7f", "é", "e\u0301", "中文", "\U0001f600", "\uffff", "05db9164",
)  # fmt: skip
CHUNKS = st.lists(
    st.lists(st.tuples(INTEGERS, INTEGERS, st.sampled_from(STRANGE_TEXTS)), min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


def text_of(rows):
    return "\n".join("\t".join(["1", *("" if cell is None else str(cell) for cell in row)]) for row in rows)


@settings(max_examples=60, deadline=None)
@given(chunks=CHUNKS, unseen=CHUNKS, dense_encoding=st.sampled_from(DenseEncoding), threshold=st.integers(0, 1))
@example(
    chunks=[[(2**40, -1, "")], [(None, -16386, "x")]],
    unseen=[[(-1, 2**31, OOV)]],
    dense_encoding=DenseEncoding.LOG_BUCKET,
    threshold=0,
)
@example(
    chunks=[[(-(2**31), 1, "")], [(None, 1, "1")]],
    unseen=[[(None, None, "-1")]],
    dense_encoding=DenseEncoding.BUCKET,
    threshold=0,
)
def test_integers_of_64_bits_and_strange_texts_agree_with_the_reference(chunks, unseen, dense_encoding, threshold):
    schema = FieldSchema.criteo(2, 1)
    frames = [parse_text(text_of(rows), schema) for rows in chunks]
    encoder = fit_frames(frames, schema, dense_encoding, threshold)
    as_row = [{"integers": list(row[:2]), "categories": [row[2]]} for rows in chunks for row in rows]
    oracle = oracles.Encoder(as_row, 2, dense_encoding, threshold)
    everything = [*itertools.chain(*chunks), *itertools.chain(*unseen)]
    frames += [parse_text(text_of(rows), schema) for rows in unseen]
    together = pl.DataFrame([concat([frame[name] for frame in frames]) for name in frames[0].columns])
    for encoded in ([encoder.encode(frame) for frame in frames], [encoder.encode(together)]):
        sparse_ids, dense_values = (np.concatenate(parts) for parts in zip(*encoded))
        rows = [{"integers": list(row[:2]), "categories": [row[2]]} for row in everything]
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        for row, values in zip(rows, dense_values.tolist()):
            for value, expected, (_, divisor) in zip(values, oracle.dense_values(row), oracle.scales):
                # Logarithms of up to 44 are exact to some 1e-14, whatever they are divided by.
                assert value == pytest.approx(expected, rel=2e-6, abs=2e-6 + 1e-13 / divisor)


def test_strange_texts_keep_their_ids_in_a_file(tmp_path):
    schema = FieldSchema.criteo(1, 1)
    text = text_of([(row % 3, value) for row, value in enumerate(STRANGE_TEXTS)])
    encoder = fit(text, schema, DenseEncoding.BUCKET, threshold=0)
    assert set(encoder.vocabulary.table.filter(field="C1")["value"]) == set(STRANGE_TEXTS)
    encoder.vocabulary.save(tmp_path / "vocabulary.tsv")
    loaded = Vocabulary.load(tmp_path / "vocabulary.tsv")
    assert loaded.table.equals(encoder.vocabulary.table)
    again = FeatureEncoder(schema, DenseEncoding.BUCKET, (), loaded)
    frame = parse_text(text, schema)
    assert again.encode(frame)[0].tolist() == encoder.encode(frame)[0].tolist()


@pytest.mark.parametrize("value", [5, 7, 123, -77])
def test_a_column_that_is_constant_in_train_keeps_other_values_small(value):
    # log1p(5) * 3 / 3 is not log1p(5) in float64: a deviation of the rounding must not become a divisor.
    schema = FieldSchema.criteo(1, 1)
    encoder = fit(f"1\t{value}\tx\n" * 2 + f"1\t{value}\tx", schema, DenseEncoding.LOG, 0)
    own, other = encoder.encode(parse_text(f"1\t{value}\tx\n1\t1000\tx", schema))[1].ravel().tolist()
    assert own == 0
    assert other == pytest.approx(math.log1p(1000) - math.copysign(math.log1p(abs(value)), value), rel=1e-6)
