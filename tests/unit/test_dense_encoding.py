# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.dense_encoding import DenseEncoding


@pytest.mark.parametrize(
    ("text", "has_dense_values", "has_buckets"),
    [("max", True, False), ("log", True, False), ("bucket", False, True), ("log+bucket", True, True)],
)
def test_each_encoding_says_what_becomes_of_an_integer(text, has_dense_values, has_buckets):
    encoding = DenseEncoding(text)
    assert (encoding.has_dense_values, encoding.has_buckets) == (has_dense_values, has_buckets)


@pytest.mark.parametrize("encoding", DenseEncoding)
def test_an_encoding_is_written_as_its_text(encoding):
    assert (f"{encoding}", str(encoding), json.loads(json.dumps(encoding))) == (encoding.value,) * 3
    assert json.dumps({"dense_encoding": encoding}) == f'{{"dense_encoding": "{encoding.value}"}}'


def test_other_texts_are_no_encoding():
    with pytest.raises(ValueError, match=r"log\+max"):
        DenseEncoding("log+max")
