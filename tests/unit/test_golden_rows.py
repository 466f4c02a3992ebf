# SPDX-License-Identifier: Apache-2.0
import pytest

from src.dataset_meta import DatasetMeta
from src.export.golden_rows import generate_golden_rows
from src.package.raw_encoding import RawEncoding
from src.package.rows import read_lines


@pytest.mark.parametrize("encoding", ["max", "log+bucket"])
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


def test_of_categories_that_are_ids_all_are_within_the_table(make_dataset):
    rows = "\n".join(f"{row % 2}\t{row}\t\t7\t{row % 5}\t1\t{row}\t0" for row in range(1000))
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", "--dense_encoding=bucket", content=rows))
    encoder = RawEncoding.of_dataset(data).encoder()
    ids, _ = encoder.encode(read_lines(generate_golden_rows(encoder), encoder.schema))
    assert 900 < ids[:, 3:].max() <= 999 == encoder.schema.largest_id
