# SPDX-License-Identifier: Apache-2.0
"""Model packages for tests, and the raw values of lines as a program in any language would read them."""

import numpy as np

from src.export.golden_rows import generate_golden_rows
from src.package.raw_encoding import RawEncoding
from tests.checkpoints import save_random_checkpoint

MISSING_INTEGER = -(2**63)


def write_random_package(folder, data, recalibration=None, seed=1):
    """Write the package of a network with random weights for the data of a MindRecord folder; return it."""
    from src.export.package import write_package

    folder.mkdir(parents=True)
    network = save_random_checkpoint(folder.with_name(f"{folder.name}-checkpoint"), data, seed).load_network()
    return write_package(folder, network, RawEncoding.of_dataset(data), recalibration, {"valid": None, "test": None})


def raw_inputs(lines, dense_dim, slot_dim, categories_are_ids=False):
    """Return the inputs of model.onnx for lines of text without a label, by name."""
    cells = [line.split("\t") for line in lines]
    inputs = {
        f"I{column + 1}": np.array([[int(row[column] or MISSING_INTEGER)] for row in cells], np.int64)
        for column in range(dense_dim)
    }
    dtype = np.int64 if categories_are_ids else object
    for column in range(slot_dim):
        inputs[f"C{column + 1}"] = np.array([[row[dense_dim + column]] for row in cells], object).astype(dtype)
    return inputs


def golden_lines(data):
    """Return generated rows for the data of a MindRecord folder."""
    return generate_golden_rows(RawEncoding.of_dataset(data).encoder())
