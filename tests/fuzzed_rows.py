# SPDX-License-Identifier: Apache-2.0
"""Raw rows with malformed and odd cells, and their encoding by the C++ runner and by Python."""

import dataclasses
import io
import itertools
import random
import shutil
import subprocess
from unittest import mock

import numpy as np

from src.common.memory_estimate import NetworkSizes
from src.dataset_meta import VOCABULARY_NAME
from src.package.package import Package
from src.package.rows import rows_have_label
from src.preprocessing import bad_lines
from src.preprocessing.chunks import read_stream
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import LINE_NUMBER
from tests.conftest import make_rows

CELLS = [
    *(b"", b"0", b"-0", b"+7", b"007", b"3.0", b"3.", b".0", b".", b"-", b"+", b"1e+16", b"15e-1", b"150e-1", b"1e400"),
    *(b"0e99", b"9223372036854775807", b"-9223372036854775807", b"-9223372036854775808", b"9223372036854775808"),
    *(b"9223372036854775807.000", b"-9223372036854775808.0", b"99999999999999999999", b"1" * 40, b"0" * 40 + b"5"),
    *(b"2147483647", b"2147483648", b"-2147483648", b"-2147483649", b"4095", b"4096", b"16383", b"16384", b"1000000"),
    *(b"nan", b"inf", b"0x10", b" 1", b"1 ", b"1\r", b"\r", b"\r\r", b"a\rb", b"1,5", b"true", b"1.0", b"-1.0", b"01"),
    *(b"\x00", b"a\x00b", b"5\x00", b"\xff", b"\xc3\xa9", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80"),
    *(b"\xf0\x9f\x98\x80", "\ufeff".encode(), b'"', b'""', b'"q', b"#", b"05db9164", b"05DB9164", b"ffffffff"),
    *(b"00000000", b"<OOV>", b"unseen", b"123456789", b"rare3", b"rare3\x00", b"x" * 1000, b"\xd9\xa1"),
]  # fmt: skip


def fuzzed(lines, dice):
    """Return lines, most of which are well-formed, with cells replaced, added, left out or given random bytes."""
    for line in lines:
        cells = line.split(b"\t")
        for _ in range(dice.choice([0, 0, 1, 1, 2, 5])):
            index = dice.randrange(len(cells))
            kind = dice.random()
            if kind < 0.8:
                cells[index] = dice.choice(CELLS)
            elif kind < 0.9:
                cells[index] = dice.randbytes(dice.randrange(12)).replace(b"\n", b"")
            elif kind < 0.95:
                cells[index : index + 1] = []
            else:
                cells.insert(index, b"")
            cells = cells or [b""]
        yield b"\t".join(cells)


def raw_lines(seed, count, with_ids, negative_label, has_label):
    """Return well-formed rows with 3 integers and 4 categories."""
    dice = random.Random(seed)
    for line in make_rows(count, 3, 4, seed).split("\n"):
        label, *cells = line.split("\t")
        label = "-1" if label == "0" and negative_label else label
        cells[3:] = [str(dice.randrange(45)) for _ in range(4)] if with_ids else cells[3:]
        yield "\t".join([label, *cells] if has_label else cells).encode()


def joined(lines):
    """Return a text of lines of which 50 end with a newline, the next 50 with a carriage return as well, and so on."""
    endings = itertools.cycle([b"\n"] * 50 + [b"\r\n"] * 50)
    return b"".join(line + ending for line, ending in zip(lines, endings))


def write_encoding(folder, encoding):
    """Write package.json and vocabulary.tsv of a package without a model."""
    folder.mkdir()
    shutil.copyfile(encoding.vocabulary_path, folder / VOCABULARY_NAME)
    identity = encoding.identity
    sizes = NetworkSizes(identity.vocabulary_size, len(identity.sparse_fields), len(identity.dense_fields), 4, (5,))
    Package(folder, sizes, encoding, None, {"valid": None, "test": None}, {}, {}, {}).save()


def encode_in_cpp(programs, encoding, content, folder):
    """Return what print_encoded prints for a text, by line."""
    write_encoding(folder, encoding)
    (folder / "rows.txt").write_bytes(content)
    with (folder / "rows.txt").open("rb") as rows:
        finished = subprocess.run([programs / "print_encoded", folder], stdin=rows, capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")
    return finished.stdout.decode().splitlines()


def encode_in_python(encoding, content):
    """Return what print_encoded prints, by preprocessing."""
    encoder = encoding.encoder()
    (chunk,) = read_stream(io.BytesIO(content), "stdin", encoder.schema, len(content))
    schema = chunk.schema
    if not chunk.names_columns:
        schema = dataclasses.replace(schema, has_label=rows_have_label(chunk.rows, schema))
    line_count = chunk.rows.count(b"\n")
    with mock.patch.object(bad_lines, "LISTED_BAD_LINES", line_count):  # the reason of each, not of the first alone
        parsed = parse_chunk(chunk.rows, 0, schema)
    sparse_ids, dense_values = encoder.encode(parsed.frame)
    rows = [""] * line_count
    for number, ids, bits in zip(
        parsed.frame[LINE_NUMBER].to_list(), sparse_ids.tolist(), dense_values.view(np.uint32).tolist()
    ):
        rows[number] = "".join([*(f"{id_} " for id_ in ids), *(f"{word:x} " for word in bits)])
    for number, reason, _ in parsed.bad_lines.first:
        rows[number - 1] = reason
    return ["labels" if schema.has_label else "no labels", *rows]
