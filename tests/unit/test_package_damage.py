# SPDX-License-Identifier: Apache-2.0
"""No damage of a model package goes unseen."""

import json
import shutil

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package import load_model
from tests.packages import RECALIBRATION, edit, list_again, write_random_package


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture
def copy(packages, tmp_path):
    """A copy of the package with a recalibration, to be damaged."""
    return shutil.copytree(packages[1], tmp_path / "model")


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.mindir", "vocabulary.tsv", "golden_rows.tsv", "golden_scores.csv"]
)
@pytest.mark.parametrize("damage", ["remove", "truncate", "flip", "link"])
def test_a_damaged_file_is_refused(copy, packages, name, damage):
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "link":
        path.symlink_to(packages[1] / name)
    message = {"remove": "is missing", "truncate": "bytes, not", "flip": "SHA-256", "link": "not a file in the folder"}
    with pytest.raises(UserError, match=message[damage]) as refused:
        load_model(copy)
    assert name in str(refused.value) and "\n" not in str(refused.value)


def test_the_vocabulary_of_another_model_is_refused(copy, make_dataset):
    shutil.copyfile(make_dataset("--threshold=4") / "vocabulary.tsv", copy / "vocabulary.tsv")
    list_again(copy, "vocabulary.tsv")
    with pytest.raises(UserError, match="is not the vocabulary of the model"):
        load_model(copy)


def test_the_network_of_other_data_is_refused(copy):
    path = copy / "model.onnx"
    identity = json.loads((copy / "package.json").read_text())["data_identity"].encode()
    assert identity in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(identity, b"0" * len(identity)))
    list_again(copy, "model.onnx")
    with pytest.raises(UserError, match="a model of other data"):
        load_model(copy)


def replace_model(package, other):
    """Put the model.onnx of another package into a package, with the positions of its parameters."""
    shutil.copyfile(other / "model.onnx", package / "model.onnx")
    list_again(package, "model.onnx")
    parameters = json.loads((other / "package.json").read_text())["parameters"]
    edit(package, lambda content: content.update(parameters=parameters))


@pytest.mark.parametrize(("recalibration", "seed"), [(RECALIBRATION, 2), (None, 1)], ids=["weights", "recalibration"])
def test_the_model_of_another_training_on_the_same_data_is_refused(copy, data, tmp_path, cpu, recalibration, seed):
    other = write_random_package(tmp_path / "other", data, recalibration, seed).path
    replace_model(copy, other)
    with pytest.raises(UserError, match="golden rows are scored differently"):
        load_model(copy)


def replace_parameter(**changes):
    return lambda content: content["parameters"]["embedding"].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_parameter(file="../outside.onnx"), "which is not a listed file"),
        (replace_parameter(file="/etc/passwd"), "which is not a listed file"),
        (replace_parameter(file="package.json"), "which is not a listed file"),
        (replace_parameter(file=["model.onnx"]), "damaged"),
        (replace_parameter(offset=10**9), "ends behind the end of model.onnx"),
        (replace_parameter(offset=0), "golden rows are scored differently"),
        (replace_parameter(offset=-4), "not all whole numbers"),
        (replace_parameter(offset="x"), "not all whole numbers"),
        (replace_parameter(offset=1.5), "not all whole numbers"),
        (replace_parameter(offset=True), "not all whole numbers"),
        (replace_parameter(shape=[4]), r"embedding has the shape \(4,\), not"),
        (replace_parameter(shape=7), "damaged"),
        (lambda content: content["parameters"].pop("bias"), "does not list the parameter bias"),
        (lambda content: content["parameters"].pop("deep.rest.1.bias"), "does not list the parameter deep.rest.1.bias"),
        (lambda content: content["recalibration"].update(targets=[-2.5, -0.2, 1.1]), "scored differently"),
        (lambda content: content.update(recalibration=None), "scored differently"),
    ],
)
def test_an_explanation_of_another_network_is_refused(copy, change, message):
    """The parameters and the recalibration of package.json, of which only explanations make use."""
    edit(copy, change)
    with pytest.raises(UserError, match=message) as refused:
        load_model(copy)
    assert str(copy) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "sub/model.onnx", "..", "", "package.json"])
def test_a_file_outside_the_folder_is_refused(copy, name):
    edit(copy, lambda content: content["files"].update({name: content["files"]["model.onnx"]}))
    with pytest.raises(UserError, match="is not a file in the folder itself"):
        load_model(copy)


def change_version(content):
    content["format_version"] = 2


def change_identity(content):
    content["data"]["dense_scales"][0][0] += 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_version, "format version 2; this program reads up to 1: use a newer version"),
        (lambda content: content.update(format_version="1"), "no valid format_version"),
        (lambda content: content.pop("format_version"), "no valid format_version"),
        (change_identity, "data and data_identity differ"),
        (lambda content: content.pop("data"), "KeyError"),
        (lambda content: content.update(files=[]), "damaged"),
        (lambda content: content["files"].pop("model.onnx"), "does not list model.onnx"),
        (lambda content: content.update(files={"model.onnx": {"bytes": 3}}), "damaged"),
        (lambda content: content.update(rows={"dense_dim": 3}), "damaged"),
        (lambda content: content.update(format_version=True), "no valid format_version"),
        (lambda content: content.update(format_version=1.0), "no valid format_version"),
        (lambda content: content["rows"].update(dense_dim=-1), "dense_dim is -1"),
        (lambda content: content["rows"].update(dense_dim=10**9), "dense_dim is 1000000000"),
        (lambda content: content["rows"].update(slot_dim=4.0), "slot_dim is 4.0"),
        (lambda content: content["rows"].update(slot_dim=3), "different columns"),
        (lambda content: content["rows"].update(categories_are_ids=1), "categories_are_ids is 1"),
        (lambda content: content["rows"].update(negative_label=False), "negative_label is False"),
        (lambda content: content["rows"].update(negative_label=2), "negative_label is 2"),
        (lambda content: content["fields"][0].update(name="I9"), "different columns"),
        (lambda content: content["network"].update(vocabulary_size=5), "other sizes than the data"),
        (lambda content: content["network"].update(sparse_field_count=5), "other sizes than the data"),
        (lambda content: content["network"].update(embedding_size=True), "not all positive integers"),
        (lambda content: content["network"].update(hidden_sizes=[16, -8]), "not all positive integers"),
        (lambda content: content["network"].update(hidden_sizes=[16]), "has the shape"),
        (lambda content: content.update(recalibration={"method": "platt"}), "recalibration is damaged"),
        (lambda content: content.update(parameters={"bias": 1}), "damaged"),
        (lambda content: content.update(network=None), "damaged"),
    ],
)
def test_a_damaged_manifest_is_refused(copy, change, message):
    edit(copy, change)
    with pytest.raises(UserError, match=message) as refused:
        load_model(copy)
    assert "package.json" in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"null", b"[" * 100_000, b'{"format_version": NaN}'])
def test_a_manifest_that_is_no_json_object_is_refused(copy, content):
    (copy / "package.json").write_bytes(content)
    with pytest.raises(UserError, match=r"package\.json is damaged"):
        load_model(copy)


def test_golden_files_that_do_not_fit_are_refused(copy):
    (copy / "golden_rows.tsv").write_bytes(b"")
    list_again(copy, "golden_rows.tsv")
    with pytest.raises(UserError, match=r"golden_rows.tsv has 0 rows for 100 golden scores"):
        load_model(copy)
    for text in ("row,probability\n1,x\n", "", "probability\n0.5\n"):
        (copy / "golden_scores.csv").write_text(text)
        list_again(copy, "golden_scores.csv")
        with pytest.raises(UserError, match=r"golden_scores.csv is damaged"):
            load_model(copy)


def test_the_file_of_a_malformed_golden_row_is_named(copy):
    path = copy / "golden_rows.tsv"
    path.write_bytes(path.read_bytes().replace(b"\t", b"\tx", 1))
    list_again(copy, "golden_rows.tsv")
    with pytest.raises(UserError, match=r"golden_rows\.tsv: line 1: I2 is ") as refused:
        load_model(copy)
    assert "\n" not in str(refused.value)


def test_rows_whose_categories_are_said_to_be_ids_do_not_fit_the_golden_rows(copy):
    edit(copy, lambda content: content["rows"].update(categories_are_ids=True))
    with pytest.raises(UserError, match=r"golden_rows\.tsv: line 1: C1 is "):
        load_model(copy)


def test_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such model"):
        load_model(tmp_path / "none")


def test_a_package_without_its_manifest_is_told_from_a_checkpoint(copy):
    (copy / "package.json").unlink()
    with pytest.raises(UserError, match=r"holds no package\.json; export\.py"):
        load_model(copy)
