# SPDX-License-Identifier: Apache-2.0
"""A log with commas, quotes, a header, columns that no model uses, and words for labels and missing values."""

import random

from tests.fuzzed_rows import CELLS

SCHEMA = """
label: {column: click, click: ["1", "yes"]}
integers: [age]
categories: [site, app]
separator: ","
header: true
missing: [NA, "-"]
"""
NAMES = ("time", "site", "click", "note, free", "age", "app")
BREAKS = (b'"', b'""', b",", b"\r", b"\xff", b"x")


def well_formed_lines(seed, count, names=NAMES):
    """Return a header and rows, bytes, of which some cells are in quotes."""
    dice = random.Random(seed)
    header = ",".join(f'"{name}"' for name in names).encode()
    return [header, *(_join(_cells(dice, names), dice) for _ in range(count))]


def fuzzed_lines(seed, count, names=NAMES):
    """Return a header and rows, bytes, of which many have odd cells, malformed quotes or other bytes."""
    dice = random.Random(seed)
    header, *lines = well_formed_lines(seed, count, names)
    for number, line in enumerate(lines):
        kind = dice.random()
        if kind < 0.4:
            cells = _cells(dice, names)
            cells[dice.randrange(len(cells))] = dice.choice([b"NA", b"NA\r", b"-", b"yes\r", b"no", *CELLS])
            lines[number] = _join(cells, dice)
        elif kind < 0.7:
            at = dice.randrange(len(line) + 1)
            lines[number] = line[:at] + dice.choice(BREAKS) + line[at + dice.randrange(2) :]
        lines[number] += dice.choice([b"", b"", b"\r", b"\r\r"])
    return [header, *lines]


def _cells(dice, names):
    """Return the cells of a row, in the order of the columns."""
    values = {
        "time": b"2026-11-%02d" % dice.randrange(1, 31),
        "site": dice.choice([b"", b"NA", "é".encode(), b"a,b", b'say "yes"', b"0a9db164", b"b%d" % dice.randrange(9)]),
        "click": dice.choice([b"1", b"yes", b"0", b"no", b"no"]),
        "note, free": dice.choice([b"", b"x", b'"', b",,"]),
        "age": dice.choice([b"-", b"", b"-7", b"%d" % dice.lognormvariate(2, 2), b"%d.0" % dice.randrange(99)]),
        "app": b"app%d" % dice.expovariate(0.3),
    }
    return [values[name] for name in names]


def _join(cells, dice):
    return b",".join(
        b'"' + cell.replace(b'"', b'""') + b'"' if b"," in cell or b'"' in cell or dice.random() < 0.2 else cell
        for cell in cells
    )
