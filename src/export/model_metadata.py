# SPDX-License-Identifier: Apache-2.0
"""Metadata of exported models: text by name, stored in MindIR and ONNX files in addition to the network."""

import os
import pathlib

# Both formats are protobuf messages whose field 14 is a list of pairs, with the name in field 1 and the value in field
# 2: user_info of MindIR, metadata_props of ONNX.  A parser merges messages that follow one another in a file.
PAIRS_FIELD, NAME_FIELD, VALUE_FIELD = 14, 1, 2
LENGTH_DELIMITED = 2  # the wire type of text and of messages


def append_metadata(path: str | os.PathLike, entries: dict[str, str]) -> None:
    """Add entries to a MindIR or ONNX file; its earlier bytes stay as they are."""
    with pathlib.Path(path).open("ab") as file:
        for name, value in entries.items():
            pair = _field(NAME_FIELD, name.encode("utf-8")) + _field(VALUE_FIELD, value.encode("utf-8"))
            file.write(_field(PAIRS_FIELD, pair))


def _field(number, content):
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number):
    """Return a number in groups of seven bits, the lowest first; the high bit of a byte means that another follows."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
