# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib

import pytest

from src.common.errors import UserError
from src.data_identity import DataIdentity, read_text_digest
from src.dataset_meta import DatasetMeta

IDENTITY = DataIdentity("ab12", ("I1", "C1"), ("I1",), "log+bucket", ((2.5, 0.75),), 40)
# Written by hand: keys in alphabetical order, no spaces.
CANONICAL = (
    '{"dense_encoding":"log+bucket","dense_fields":["I1"],"dense_scales":[[2.5,0.75]],'
    '"sparse_fields":["I1","C1"],"vocabulary_sha256":"ab12","vocabulary_size":40}'
)


def test_the_digest_is_that_of_canonical_json():
    assert IDENTITY.digest() == hashlib.sha256(CANONICAL.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vocabulary_sha256", "ab13"),
        ("sparse_fields", ("C1", "I1")),
        ("dense_fields", ("I2",)),
        ("dense_encoding", "log"),
        ("dense_scales", ((2.5, 0.5),)),
        ("vocabulary_size", 41),
    ],
)
def test_every_field_changes_the_digest_and_is_named_as_a_difference(name, value):
    other = dataclasses.replace(IDENTITY, **{name: value})
    assert other.digest() != IDENTITY.digest()
    assert IDENTITY.differences(other) == [name]
    assert IDENTITY.differences(IDENTITY) == []


def test_a_dataset_and_its_metadata_give_the_same_identity(dataset):
    meta = DatasetMeta.load(dataset)
    identity = DataIdentity.of_dataset(meta)
    assert identity.vocabulary_size == len((dataset / "vocabulary.tsv").read_text().splitlines()) - 1
    assert identity.to_metadata()["vocabulary_sha256"] == meta.vocabulary_sha256


def test_the_text_holds_a_line_for_each_entry_and_its_digest_is_read_back(tmp_path):
    IDENTITY.save_text(tmp_path)
    lines = (tmp_path / "data_identity.txt").read_text().splitlines()
    assert lines[0] == f"data_identity={hashlib.sha256(CANONICAL.encode()).hexdigest()}"
    assert lines[2:4] == ['sparse_fields=["I1", "C1"]', 'dense_fields=["I1"]']
    assert read_text_digest(tmp_path) == IDENTITY.digest()


def test_a_folder_without_the_text_has_no_digest_and_a_damaged_text_is_refused(tmp_path):
    assert read_text_digest(tmp_path) is None
    for content in (b"", b"vocabulary_size=40\n", b"\xff\xfe"):
        (tmp_path / "data_identity.txt").write_bytes(content)
        with pytest.raises(UserError, match=r"data_identity\.txt is damaged"):
            read_text_digest(tmp_path)
