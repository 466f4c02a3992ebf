# SPDX-License-Identifier: Apache-2.0
"""Metadata of exported models: text by name, which MindIR and ONNX files carry in addition to the network."""

import pathlib

# Both formats are protobuf messages whose field 14 is a list of pairs, the name being field 1 and the value field 2:
# user_info of MindIR, metadata_props of ONNX.  Messages that follow one another in a file are read as one.
PAIRS_FIELD, NAME_FIELD, VALUE_FIELD = 14, 1, 2
LENGTH_DELIMITED = 2  # the wire type of text and of messages


def append_metadata(path, entries) -> None:
    """Add entries, a dict of text, to a MindIR or ONNX file; the bytes that it has stay as they are."""
    with pathlib.Path(path).open("ab") as file:
        for name, value in entries.items():
            pair = _field(NAME_FIELD, name.encode("utf-8")) + _field(VALUE_FIELD, value.encode("utf-8"))
            file.write(_field(PAIRS_FIELD, pair))


def _field(number, content):
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(number):
    """Return a number in groups of seven bits, the lowest first; the high bit says that another one follows."""
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
