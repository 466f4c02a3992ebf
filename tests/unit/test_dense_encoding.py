# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.dense_encoding import DenseEncoding


@pytest.mark.parametrize(
    ("text", "has_dense_values", "has_buckets", "has_bins"),
    [
        ("max", True, False, False),
        ("log", True, False, False),
        ("bin", False, True, True),
        ("log+bin", True, True, True),
        ("bucket", False, True, False),
        ("log+bucket", True, True, False),
    ],
)
def test_each_encoding_says_what_becomes_of_an_integer(text, has_dense_values, has_buckets, has_bins):
    encoding = DenseEncoding(text)
    found = encoding.has_dense_values, encoding.has_buckets, encoding.has_bins
    assert found == (has_dense_values, has_buckets, has_bins)


@pytest.mark.parametrize("encoding", DenseEncoding)
def test_an_encoding_is_written_as_its_text(encoding):
    assert (f"{encoding}", str(encoding), json.loads(json.dumps(encoding))) == (encoding.value,) * 3
    assert json.dumps({"dense_encoding": encoding}) == f'{{"dense_encoding": "{encoding.value}"}}'


def test_other_texts_are_no_encoding():
    with pytest.raises(ValueError, match=r"log\+max"):
        DenseEncoding("log+max")
