# SPDX-License-Identifier: Apache-2.0
"""Digests of results that were written down: a change of the split, of the order of the rows or of a format is noticed.

The rows come from integer arithmetic, and the encodings are those without logarithms, whose last bit depends on the
machine.  A deliberate change of a format replaces the digests and raises the format version.
"""

import hashlib
import json

import mindspore
import pytest

from tests import oracles
from tests.raw_data import digests
from tests.records import read_rows

WRITER_VERSION = "2.10.0"  # of MindSpore: another one may write other bytes for the same records
GOLDEN = {
    "max": {
        "rows": "f50bdb403491dfc2beb6d8c0f832df92d4377f9fc9c7c535b7e79542d454b2b4",
        "meta": "db234b15e64261ec7019dc63d6856e9b6036508244fcd09ea0be7359541e614b",
        "vocabulary": "606e0c2c23f4adcbdc3e59f6fadc37a8ae05b9cd125b1201ce769be9654d46b9",
        "shard": "93c3234588ca03d28de0a54af3246f84b6e1c603f42d5942316aa858a11875aa",
    },
    "bucket": {
        "rows": "d3594bd1640bc8f0c000989e5aaa285ff82c4ac127f15e000846ecba509854d3",
        "meta": "acfd3e1598b40b57e80035f6bd858d8b179f7e23b0b8e7e3f86a117a5c669d05",
        "vocabulary": "277ea7c5119844f797a082f7ca8141c6f0dca2a4e17a19de3422e7b7d5143e6b",
        "shard": "896f0b2242139cdc4079cb6bbb8ea8d383822c99723c938fccb39bbc8df0b615",
    },
}


def golden_rows():
    """Return 2,000 raw rows of 3 integers and 4 categories, one of them malformed."""
    lines = []
    for row in range(2000):
        label, *bits = (oracles.splitmix64(7, 8 * row + column) for column in range(8))
        integers = ["" if cell % 4 == 0 else str((cell >> 8) % 2 ** (cell % 40) - 3) for cell in bits[:3]]
        values = [(cell >> 16) % (1 + (cell >> 8) % 200) for cell in bits[3:]]
        categories = ["" if value % 6 == 5 else f"{value:08x}" for value in values[:2]]
        categories += [f"é{value}" if value % 2 else f"{value:x}" for value in values[2:]]
        lines.append("\t".join([str(int(label % 4 == 0)), *integers, *categories]))
    lines[1234] = "2" + lines[1234][1:]
    return "\n".join(lines)


def summarise(folder):
    """Return what GOLDEN holds for a result."""
    sparse_ids, dense_values, labels = read_rows(folder, "test")
    meta = json.loads((folder / "dataset_meta.json").read_text())
    for split in meta["splits"].values():
        for file in split["files"]:
            del file["sha256"]  # it is among the digests, where the version of the writer counts
    for field in meta["fields"]:
        field.update({name: round(value, 9) for name, value in field.items() if isinstance(value, float)})
    files = digests(folder)
    return {
        "rows": hashlib.sha256(sparse_ids.tobytes() + dense_values.tobytes() + labels.tobytes()).hexdigest(),
        "meta": hashlib.sha256(json.dumps(meta).encode()).hexdigest(),
        "vocabulary": files["vocabulary.tsv"],
        "shard": files["test_input_part.mindrecord00"],
    }


@pytest.mark.parametrize("encoding", ["max", "bucket"])
def test_a_result_has_the_digests_that_were_written_down(make_dataset, encoding):
    got = summarise(make_dataset(f"--dense_encoding={encoding}", content=golden_rows()))
    expected = dict(GOLDEN[encoding])
    if mindspore.__version__ != WRITER_VERSION:
        del got["shard"], expected["shard"]
    assert got == expected
