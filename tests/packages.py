# SPDX-License-Identifier: Apache-2.0
"""Model packages for tests, and the raw values of lines as a program in any language would read them."""

import hashlib
import importlib.util
import json

import numpy as np

from src.evaluation.recalibration import Recalibration
from src.export.golden_rows import generate_golden_rows
from src.package.raw_encoding import RawEncoding
from tests.checkpoints import save_random_checkpoint

MISSING_INTEGER = -(2**63)
RECALIBRATION = Recalibration("isotonic", (-3.0, 0.0, 2.0), (-2.5, -0.2, 1.0))


def write_random_package(folder, data, recalibration=None, seed=1, *, has_statistics=False):
    """Write the package of a network with random weights for the data of a MindRecord folder; return it."""
    from src.export.package import write_package

    folder.mkdir(parents=True)
    network = save_random_checkpoint(checkpoint_of(folder), data, seed, has_statistics=has_statistics).load_network()
    return write_package(folder, network, RawEncoding.of_dataset(data), recalibration, {"valid": None, "test": None})


def checkpoint_of(package):
    """Return the folder of the checkpoint of which write_random_package has made a package."""
    return package.with_name(f"{package.name}-checkpoint")


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


def edit(package, change):
    """Change the parsed package.json of a folder."""
    path = package / "package.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def list_again(package, *names):
    """Enter the sizes and digests of files as they are now, as one would who has changed them on purpose."""

    def change(content):
        for name in names:
            data = (package / name).read_bytes()
            content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    edit(package, change)


def hide(monkeypatch, *names):
    """Let this process believe that packages of these names are not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in names else find(name))
