# SPDX-License-Identifier: Apache-2.0
"""A model package scores as its checkpoint does, and holds what it should."""

import dataclasses
import math
import os
import shutil

import numpy as np
import onnxruntime
import polars as pl
import pytest

from src.checkpoint import find_checkpoint
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.package.model import load_package
from src.package.package import MINDIR_BATCH_ROWS, Package
from src.package.runtime import MindIRNetwork
from tests.json_files import strict_json
from tests.packages import RECALIBRATION, checkpoint_of, golden_lines, raw_inputs, write_random_package

TOLERANCE = 1e-5  # between two runtimes, for random weights that are larger than trained ones


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture(scope="module")
def folder(packages):
    """The folder of a package with a recalibration."""
    return packages[1]


@pytest.fixture
def copy(packages, tmp_path):
    """A copy of the package with a recalibration, to be damaged."""
    return shutil.copytree(packages[1], tmp_path / "model")


def test_a_package_scores_as_its_checkpoint_does(folder, data):
    lines = golden_lines(data)
    probabilities = load_model(folder).predict(lines)
    network = load_model(checkpoint_of(folder))
    expected = RECALIBRATION.apply(network.predict(lines))
    assert probabilities.dtype == np.float32 and probabilities.shape == (100,)
    assert np.ptp(probabilities) > 0.5
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=TOLERANCE)


def test_the_onnx_file_alone_gives_the_same_probabilities(folder, data):
    lines = golden_lines(data)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [each.name for each in session.get_inputs()] == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    assert [each.name for each in session.get_outputs()] == ["probability"]
    found = session.run(None, raw_inputs(lines, 3, 4))[0]
    assert np.array_equal(found[:, 0], load_model(folder).predict(lines))


def test_the_mindir_of_a_package_is_recalibrated_too_and_takes_any_number_of_rows(folder, data):
    package = Package.load(folder)
    network = MindIRNetwork(folder / "model.mindir", MINDIR_BATCH_ROWS, package.recalibration)
    model = load_package(package)
    lines = golden_lines(data) * 12
    for count in (0, 1, 1000, 1200):
        encoded = model.encode(model.read(lines[:count]))
        np.testing.assert_allclose(network(*encoded), model.network(*encoded), rtol=0, atol=TOLERANCE)


def test_package_json_says_where_the_parameters_are(folder, data):
    package = Package.load(folder)
    network = find_checkpoint(checkpoint_of(folder)).load_network()
    weights = {each.name: each.asnumpy() for each in network.get_parameters()}
    for name in ("embedding", "dense_linear", "bias", "dense_embedding", "deep.first.weight", "deep.rest.1.bias"):
        place = package.parameters[name]
        found = np.memmap(folder / place.file, "<f4", "r", place.offset, place.shape)
        assert np.array_equal(found, weights[name].reshape(place.shape)), name


def test_a_package_is_written_as_the_same_bytes_each_time(folder, data, tmp_path):
    again = write_random_package(tmp_path / "model", data, RECALIBRATION).path
    names = {path.name for path in again.iterdir()}
    assert names == {path.name for path in folder.iterdir()}
    for name in names - {"model.mindir", "package.json"}:  # MindSpore numbers the nodes of a process
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_no_row_of_the_data_and_no_path_leaves_with_a_package(folder, dataset):
    rows = (dataset.parent / "train.txt").read_text().split("\n")
    golden = (folder / "golden_rows.tsv").read_text().split("\n")[:-1]
    assert len(golden) == 100
    assert not set(golden) & {row.partition("\t")[2] for row in rows}
    for path in folder.iterdir():
        assert str(folder.parents[1]).encode() not in path.read_bytes()


def test_metrics_of_one_class_are_written_as_strict_json(copy):
    metrics = {"valid": {"auc": math.nan, "auc_interval": [math.nan, math.nan], "log_loss": 0.5}, "test": None}
    dataclasses.replace(Package.load(copy), metrics=metrics).save()
    expected = {"valid": {"auc": None, "auc_interval": [None, None], "log_loss": 0.5}, "test": None}
    assert strict_json(copy / "package.json")["metrics"] == Package.load(copy).metrics == expected


def test_unlisted_files_do_no_harm(copy, data):
    (copy / "notes.txt").write_text("mine")
    assert len(load_model(copy).predict(golden_lines(data))) == 100


@pytest.mark.parametrize(
    "rows", [None, 7, "1\t2", b"1\t2", bytearray(b"1\t2"), {"I1": [1]}, pl.LazyFrame({"I1": [1]}), iter(["1"])]
)
def test_rows_of_another_type_are_refused_in_one_line(folder, rows):
    model = load_model(folder)
    for method in (model.predict, model.explain):
        with pytest.raises(
            UserError, match=f"^rows are of the type {type(rows).__name__}; expected is a list of lines"
        ):
            method(rows)


def test_a_path_may_hold_any_characters(folder, data, tmp_path):
    path = tmp_path / os.fsdecode("ä b\n{x}*".encode())
    shutil.copytree(folder, path)
    assert len(load_model(path).predict(golden_lines(data))) == 100
