# SPDX-License-Identifier: Apache-2.0
"""Rows, and the inputs of inference requests that hold them, by REST and by gRPC."""

import struct

import numpy as np
import polars as pl

from tests.conftest import make_rows

INTEGERS, CATEGORIES = ["I1", "I2", "I3"], ["C1", "C2", "C3", "C4"]
COLUMNS = [*INTEGERS, *CATEGORIES]
MISSING_INTEGER = -(2**63)
LINES = [line.partition("\t")[2] for line in make_rows(300, 3, 4, seed=9).split("\n")]  # without a label


def tensor(name, data, datatype="BYTES", shape=None):
    """Return an input in the JSON of the protocol."""
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": data}


def column_inputs(lines, integers_as):
    """Return a tensor for each column."""
    columns = dict(zip(COLUMNS, zip(*(line.split("\t") for line in lines))))
    if integers_as == "INT64":
        columns |= {name: [int(cell) if cell else MISSING_INTEGER for cell in columns[name]] for name in INTEGERS}
    return [tensor(name, list(cells), integers_as if name in INTEGERS else "BYTES") for name, cells in columns.items()]


def grpc_input(name, cells, datatype="BYTES"):
    """Return an input of gRPC, without raw contents."""
    names = {"BYTES": "bytes_contents", "INT64": "int64_contents", "FP64": "fp64_contents"}
    contents = {names[datatype]: [cell.encode() for cell in cells] if datatype == "BYTES" else cells}
    return {"name": name, "datatype": datatype, "shape": [len(cells), 1], "contents": contents}


def length_prefixed(texts):
    """Return the raw contents of a tensor of BYTES."""
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def check_part(found, column):
    """Check the numbers or texts of a part of explanations; the numbers of two versions of NumPy differ by rounding."""
    if column.dtype == pl.String:
        assert list(found) == column.to_list()
    else:
        np.testing.assert_allclose(np.array(found, np.float64), column.to_numpy(), rtol=1e-12, atol=1e-14)


def are_close(found, expected):
    """Tell whether probabilities agree: the rounding of a product of matrices depends on its number of rows."""
    return len(found) == len(expected) and np.abs(np.array(found) - expected).max() <= 1e-6
