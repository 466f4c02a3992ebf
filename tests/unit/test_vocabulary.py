# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from src.common.errors import UserError
from src.preprocessing.vocabulary import OOV, Vocabulary


def test_vocabulary_by_hand():
    # C1: a 3 times, b and the empty text twice each, of 8 rows: ids for a, then "" before b; one row is OOV.
    kept = {
        "C1": pl.DataFrame({"value": ["b", "a", ""], "count": [2, 3, 2]}),
        "C2": pl.DataFrame({"value": ["z"], "count": [8]}),
    }
    assert Vocabulary.build(kept, 8).table.rows() == [
        ("C1", OOV, 0, 1),
        ("C2", OOV, 1, 0),
        ("C1", "a", 2, 3),
        ("C1", "", 3, 2),
        ("C1", "b", 4, 2),
        ("C2", "z", 5, 8),
    ]
    assert Vocabulary.build(kept, 8, first_id=10, max_size=1).table.rows() == [
        ("C1", OOV, 10, 5),
        ("C2", OOV, 11, 0),
        ("C1", "a", 12, 3),
        ("C2", "z", 13, 8),
    ]


def test_vocabulary_survives_its_file(tmp_path):
    values = ["", "é", "x\r\x00", '"y"', "a\rb", "#", "05db9164"]
    counts = pl.DataFrame({"value": values, "count": range(7, 0, -1)})
    vocabulary = Vocabulary.build({"I1": counts.head(2), "C1": counts}, row_count=30)
    vocabulary.save(tmp_path / "vocabulary.tsv")
    loaded = Vocabulary.load(tmp_path / "vocabulary.tsv")
    assert loaded.table.equals(vocabulary.table)
    assert loaded.fields == ["I1", "C1"]


def test_a_vocabulary_without_values_survives_its_file(tmp_path):
    vocabulary = Vocabulary.build({}, 5, first_id=9)
    vocabulary.save(tmp_path / "vocabulary.tsv")
    assert len(vocabulary) == len(Vocabulary.load(tmp_path / "vocabulary.tsv")) == 0


def test_ids_end_with_the_largest_int32():
    kept = {"I1": pl.DataFrame({"value": ["1"], "count": [5]})}
    assert Vocabulary.build(kept, 5, first_id=2**31 - 2).table["id"].to_list() == [2**31 - 2, 2**31 - 1]
    with pytest.raises(
        UserError, match=r"--skip_id_convert=1: the largest category id is 2147483646; .* 2 ids after it"
    ):
        Vocabulary.build(kept, 5, first_id=2**31 - 1)
