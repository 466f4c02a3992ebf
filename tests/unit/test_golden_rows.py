# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from src.common.dense_encoding import DenseEncoding
from src.dataset_meta import DatasetMeta
from src.export.golden_rows import generate_golden_rows
from src.package.raw_encoding import RawEncoding
from src.package.rows import read_lines
from tests.unit.test_encoder_columns import fit, frame_of


@pytest.mark.parametrize("encoding", ["max", "log+bin"])
def test_golden_rows_have_known_unseen_and_missing_values_in_each_field(make_dataset, encoding):
    encoder = RawEncoding.of_dataset(DatasetMeta.load(make_dataset(f"--dense_encoding={encoding}"))).encoder()
    lines = generate_golden_rows(encoder)
    assert len(lines) == len(set(lines)) == 100
    assert lines == generate_golden_rows(encoder)
    ids, values = encoder.encode(read_lines(lines, encoder.schema))
    oov = [encoder.vocabulary.oov_id(field) for field in encoder.sparse_names]
    missing = [encoder.vocabulary.missing_id(field) for field in encoder.sparse_names]
    assert ids[0].tolist() == oov and ids[1].tolist() == missing and (values[1] == 0).all()
    for column, field in enumerate(encoder.sparse_names):
        kept = set(encoder.vocabulary.kept(field)["id"])
        assert len(kept & set(ids[:, column].tolist())) > 5, field


@pytest.mark.parametrize("largest", [3, 2**62])
def test_no_integer_is_far_above_the_training_rows_where_its_square_would_be_rounded(make_dataset, largest):
    rows = "\n".join(f"{row % 2}\t{row % 4}\t\t{largest}\ta\tb\tc\td" for row in range(1000))
    data = DatasetMeta.load(make_dataset("--dense_encoding=max", content=rows))
    encoder = RawEncoding.of_dataset(data).encoder()
    _, values = encoder.encode(read_lines(generate_golden_rows(encoder), encoder.schema))
    assert np.abs(values[:, 0]).max() == 4  # 12 of at most 3
    assert 0 < np.abs(values[:, 2]).max() <= 4


def test_of_categories_that_are_ids_all_are_within_the_table(make_dataset):
    rows = "\n".join(f"{row % 2}\t{row}\t\t7\t{row % 5}\t1\t{row}\t0" for row in range(1000))
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", "--dense_encoding=bucket", content=rows))
    encoder = RawEncoding.of_dataset(data).encoder()
    ids, _ = encoder.encode(read_lines(generate_golden_rows(encoder), encoder.schema))
    assert 900 < ids[:, 3:].max() <= 999 == encoder.schema.largest_id


@pytest.mark.parametrize("encoding", DenseEncoding)
@pytest.mark.parametrize("price", [[], [2.5] * 3, [-0.001, 0.25, 1e6], [1.7976931348623157e308, -1.7e308, 5e-324]])
def test_golden_rows_of_any_column_of_floats_are_well_formed_and_tell_lists_apart(encoding, price):
    encoder = fit([frame_of(price=[*price, math.nan], tags=["a|b"] * (len(price) + 1))], encoding, 0)
    lines = generate_golden_rows(encoder)
    frame = read_lines(lines, encoder.schema)
    assert frame.height == 100 and np.isfinite(frame["price"].fill_nan(0).to_numpy()).all()
    assert math.isnan(frame["price"][1]) and frame["price"].n_unique() > 5
    assert {len(cell.split("|")) for cell in frame["tags"].to_list()} == {1, 2, 3}  # one more than the model uses
