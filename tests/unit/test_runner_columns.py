# SPDX-License-Identifier: Apache-2.0
"""Floats and multi-valued columns in the C++ runner, against an encoder of a few lines in Python."""

import bisect
import json
import math
import random
import re
import subprocess

import numpy as np
import pytest

from tests import oracles
from tests.plain_encoder import LARGEST_OF_FLOATS

FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
INTEGER = re.compile(r"-?[0-9]{1,18}")
EDGES = [-2.5, 0.0, 1e-310, 0.1, 3.0, 1e300]
SCALES = {"visits": (1.5, 2.0), "price": (0.25, 0.75)}
LENGTHS = {"tags": 3, "ads": 1}
SEPARATORS = {"ads": " ", "tags": "|"}
NAMES = ("price", "hour", "tags", "click", "site", "ads", "visits")
MISSING = ("", "NA")
SHA256 = "1" * 64
VOCABULARY = {
    "visits": ["", "0", "1", "7"],
    "price": ["1", "2", "3", "5", "6"],
    "site": ["a", "é"],
    "tags": ["", "a", "b", "a long value of a tag"],
    "ads": ["x"],
}
FLOATS = (
    *("", "NA", "0", "-0.0", "+1.5", ".5", "5.", "-.5e1", "1e300", "1e-310", "1e-400", "-1e-400", "1e308", "0.1"),
    *(
        "0.1000000000000000055511151231257827",
        "0.10000000000000002",
        "9007199254740993",
        "1e999",
        "-1e309",
        "nan",
        "inf",
    ),
    *(
        "1e",
        ".",
        "1,5",
        " 1",
        "0x1p3",
        "3\r",
        "1_0",
        "0e999999",
        "1" * 400,
        "0." + "0" * 400 + "1e401",
        "1.5f",
        "\u0661",
    ),
)
CHOICES = {
    "hour": ("", "7", "\xff"),
    "click": ("0", "1", "1", "0.0"),
    "site": ("", "a", "é", "b", "NA"),
    "visits": ("", "NA", "0", "1", "3", "-5", "1000", "x"),
    "tags": ("", "NA", "|", "||a||b|c|a", "a|a|a|b", "a long value of a tag", "|NA", "c|b\r"),
    "ads": ("", "NA", " ", "x y", "y x", " x", "x"),
}


def number_values(fields):
    """Return the id of each value of fields, that of OOV by None."""
    ids = {field: {None: number} for number, field in enumerate(fields)}
    pairs = [(field, value) for field in fields for value in VOCABULARY[field]]
    for number, (field, value) in enumerate(pairs, len(fields)):
        ids[field][value] = number
    return ids


def write_package(folder, encoding):
    """Write package.json and vocabulary.tsv by hand; return the ids of the vocabulary."""
    has_buckets = oracles.has_buckets(encoding)
    sparse = [field for field in VOCABULARY if has_buckets or field not in SCALES]
    dense = list(SCALES) if encoding not in ("bin", "bucket") else []
    ids = number_values(sparse)
    rows = sorted((number, field, value) for field in sparse for value, number in ids[field].items())
    table = "".join(f"{field}\t{'<OOV>' if value is None else value}\t{number}\t1\n" for number, field, value in rows)
    manifest = {
        "format_version": 1,
        "network": {
            "vocabulary_size": len(rows),
            "sparse_field_count": len(sparse),
            "dense_field_count": len(dense),
        },
        "rows": {
            "label": "click", "integers": ["visits"], "floats": ["price"], "categories": ["site"],
            "multi_valued": SEPARATORS, "columns": NAMES, "separator": "\t", "header": False, "missing": ["NA"],
            "weight": None, "time": "hour", "categories_are_ids": False,
        },
        "data": {
            "vocabulary_sha256": SHA256, "sparse_fields": sparse, "dense_fields": dense, "dense_encoding": encoding,
            "dense_scales": [SCALES[name] for name in dense], "vocabulary_size": len(rows), "list_lengths": LENGTHS,
            **({"bucket_edges": {"price": EDGES}} if has_buckets else {}),
        },
        "data_identity": SHA256, "recalibration": None, "fields": [], "mindir_batch_rows": 1000, "files": {},
    }  # fmt: skip
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps(manifest))
    (folder / "vocabulary.tsv").write_text(f"field\tvalue\tid\tcount\n{table}", newline="", encoding="utf-8")
    return ids


def encode(line, encoding, ids):
    """Return what print_encoded prints for a line.  ids: of the vocabulary."""
    cells = dict(zip(NAMES, line.split("\t")))
    if "\xff" in cells["hour"]:
        return "encoding"
    texts = {name: cell.rstrip("\r") for name, cell in cells.items()}
    texts = {name: "" if text in MISSING else text for name, text in texts.items()}
    visits, price = texts["visits"], texts["price"]
    if visits and not INTEGER.fullmatch(visits):
        return "integer"
    if price and not (FLOAT.fullmatch(price) and math.isfinite(float(price))):
        return "float"
    numbers = int(visits) if visits else None, float(price) if price else None
    sparse_ids = [
        *(bucket_ids(numbers, ids, encoding) if oracles.has_buckets(encoding) else []),
        id_of(ids["site"], texts["site"]),
    ]
    for name, length in LENGTHS.items():
        values = [part for part in texts[name].split(SEPARATORS[name]) if part] or [""]
        sparse_ids += ([id_of(ids[name], value) for value in values] + [-1] * length)[:length]
    words = dense_values(numbers, encoding).view(np.uint32) if encoding not in ("bin", "bucket") else []
    return "".join([*(f"{number} " for number in sparse_ids), *(f"{word:x} " for word in words)])


def id_of(ids, value):
    return ids.get(value, ids[None])


def bucket_ids(numbers, ids, encoding):
    visits, price = numbers
    buckets = (
        oracles.bucket_or_bin(visits, encoding),
        bisect.bisect_right(EDGES, price) if price is not None else "",
    )
    return [id_of(ids[name], str(bucket)) for name, bucket in zip(SCALES, buckets)]


def dense_values(numbers, encoding):
    values = []
    for number, limit, (center, divisor) in zip(numbers, (math.inf, LARGEST_OF_FLOATS), SCALES.values()):
        magnitude = np.float64(number or 0)
        if encoding != "max":
            magnitude = np.sign(magnitude) * np.log1p(np.abs(magnitude))
        values.append(0.0 if number is None else min(max((magnitude - center) / divisor, -limit), limit))
    return np.array(values).astype(np.float32)


@pytest.mark.parametrize("encoding", ["log+bin", "bin", "log+bucket", "bucket", "log", "max"])
def test_floats_and_multi_valued_columns_are_encoded_by_their_contract(programs, tmp_path, encoding):
    dice = random.Random(encoding)
    floats = [*FLOATS, *(repr(dice.uniform(-10, 10) * 10.0 ** dice.randrange(-320, 308)) for _ in range(500))]
    choices = {**CHOICES, "price": floats}
    lines = ["\t".join(dice.choice(choices[name]) for name in NAMES) for _ in range(4000)]
    ids = write_package(tmp_path / "package", encoding)
    content = "".join(f"{line}\n" for line in lines).encode("utf-8").replace("\xff".encode(), b"\xff")
    finished = subprocess.run(
        [programs / "print_encoded", tmp_path / "package"], input=content, capture_output=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, b"")
    header, *found = finished.stdout.decode().splitlines()
    assert header == "labels"
    different = [
        case
        for case in zip(lines, found, [encode(line, encoding, ids) for line in lines], strict=True)
        if case[1] != case[2]
    ]
    assert different == []
    assert {"float", "integer", "encoding"} < set(found)
