# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import polars as pl
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package.raw_encoding import FieldRates, RawEncoding
from src.preprocessing.schema import FieldSchema


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture
def saved(data, tmp_path):
    """A folder in which the encoding of `data` is saved."""
    RawEncoding.of_dataset(data).save(tmp_path)
    return tmp_path


def test_a_saved_encoding_is_read_as_it_was(data, saved):
    encoding = RawEncoding.of_dataset(data)
    found = RawEncoding.load(saved, encoding.identity)
    assert found == dataclasses.replace(encoding, vocabulary_path=saved / "vocabulary.tsv")
    assert (saved / "vocabulary.tsv").read_bytes() == (data.path / "vocabulary.tsv").read_bytes()
    assert found.schema == FieldSchema.criteo(3, 4)


def test_it_knows_how_often_training_rows_have_no_value_and_an_unseen_one(data):
    rates = {rates.name: rates for rates in RawEncoding.of_dataset(data).field_rates}
    assert list(rates) == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    table = pl.read_csv(data.path / "vocabulary.tsv", separator="\t", quote_char=None)
    oov = table.filter((pl.col("field") == "C3") & (pl.col("value") == "<OOV>"))["count"][0]
    missing = table.filter((pl.col("field") == "C3") & pl.col("value").is_null())["count"][0]
    train_rows = data.splits["train"].rows
    assert rates["C3"] == FieldRates("C3", missing / train_rows, oov / train_rows)


def test_its_encoder_gives_the_ids_of_the_vocabulary_file(data):
    encoder = RawEncoding.of_dataset(data).encoder()
    table = pl.read_csv(data.path / "vocabulary.tsv", separator="\t", quote_char=None)
    value, id_ = table.filter((pl.col("field") == "C2") & (pl.col("value") == "a"))["value", "id"].row(0)
    frame = pl.DataFrame({"I1": [0], "I2": [0], "I3": [0], "C1": [""], "C2": [value], "C3": [""], "C4": [""]})
    frame = frame.cast({pl.Int64: pl.Int32})
    assert encoder.encode(frame)[0][0, 4] == id_  # after three buckets and C1


def test_a_folder_of_an_older_training_has_none(data, tmp_path):
    assert RawEncoding.load(tmp_path, RawEncoding.of_dataset(data).identity) is None


def test_saving_again_leaves_an_intact_vocabulary_alone(data, saved):
    before = (saved / "vocabulary.tsv").stat().st_ino
    RawEncoding.of_dataset(data).save(saved)
    assert (saved / "vocabulary.tsv").stat().st_ino == before
    (saved / "vocabulary.tsv").write_text("of an earlier training")
    RawEncoding.of_dataset(data).save(saved)
    assert (saved / "vocabulary.tsv").read_bytes() == (data.path / "vocabulary.tsv").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ("{}", "is damaged"),
        ('{"format_version": 1, "data_identity": "0"}', "is of other data than the model"),
    ],
)
def test_a_damaged_file_is_refused(data, saved, content, message):
    (saved / "raw_rows.json").write_text(content)
    with pytest.raises(UserError, match=message):
        RawEncoding.load(saved, RawEncoding.of_dataset(data).identity)


def test_a_file_without_the_columns_is_refused(data, saved):
    path = saved / "raw_rows.json"
    content = json.loads(path.read_text())
    del content["rows"]["slot_dim"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"raw_rows.json is damaged \(KeyError"):
        RawEncoding.load(saved, RawEncoding.of_dataset(data).identity)


def test_the_encoding_of_other_data_is_refused(saved, make_dataset):
    other = RawEncoding.of_dataset(DatasetMeta.load(make_dataset("--threshold=4")))
    with pytest.raises(UserError, match="is of other data than the model"):
        RawEncoding.load(saved, other.identity)


@pytest.mark.parametrize(("damage", "message"), [("remove", "is missing"), ("change", "is not the vocabulary of the")])
def test_another_vocabulary_is_refused(data, saved, damage, message):
    path = saved / "vocabulary.tsv"
    if damage == "remove":
        path.unlink()
    else:
        path.write_text(path.read_text() + "C1\tnew\t999\t1\n")
    with pytest.raises(UserError, match=message):
        RawEncoding.load(saved, RawEncoding.of_dataset(data).identity)
