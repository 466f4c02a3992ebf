# SPDX-License-Identifier: Apache-2.0
"""A model package scores as its checkpoint does, and no damage of it goes unseen."""

import dataclasses
import hashlib
import json
import math
import os
import shutil

import numpy as np
import onnxruntime
import polars as pl
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.evaluation.recalibration import Recalibration
from src.export.package import write_package
from src.package import load_model
from src.package.checkpoint_network import as_network
from src.package.model import ClickModel, load_package
from src.package.package import MINDIR_BATCH_ROWS, Package
from src.package.raw_encoding import RawEncoding
from src.package.runtime import MindIRNetwork, choose_runtime
from tests.json_files import strict_json
from tests.packages import golden_lines, raw_inputs, write_random_package

TOLERANCE = 1e-5  # between two runtimes, for random weights that are larger than trained ones
RECALIBRATION = Recalibration("isotonic", (-2.0, -1.0, 1.0), (-3.0, -0.5, 0.5))


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory, cpu):
    """The folder of a package with a recalibration."""
    return write_random_package(tmp_path_factory.mktemp("package") / "model", data, RECALIBRATION).path


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the package, to be damaged."""
    return shutil.copytree(folder, tmp_path / "model")


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


def replace_model(package, other):
    """Put the model.onnx of another package into a package, with the positions of its parameters."""
    shutil.copyfile(other / "model.onnx", package / "model.onnx")
    list_again(package, "model.onnx")
    parameters = json.loads((other / "package.json").read_text())["parameters"]
    edit(package, lambda content: content.update(parameters=parameters))


def test_a_package_scores_as_its_checkpoint_does(folder, data):
    lines = golden_lines(data)
    probabilities = load_model(folder).predict(lines)
    network = load_model(folder.with_name("model-checkpoint"))
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
    weights = {each.name: each.asnumpy() for each in load_checkpoint_network(folder).get_parameters()}
    for name in ("embedding", "dense_linear", "bias", "dense_embedding", "deep.first.weight", "deep.rest.1.bias"):
        place = package.parameters[name]
        found = np.memmap(folder / place.file, "<f4", "r", place.offset, place.shape)
        assert np.array_equal(found, weights[name].reshape(place.shape)), name


def load_checkpoint_network(folder):
    from src.checkpoint import find_checkpoint

    return find_checkpoint(folder.with_name("model-checkpoint")).load_network()


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
        assert str(dataset.parent).encode() not in path.read_bytes()


def test_metrics_of_one_class_are_written_as_strict_json(copy):
    metrics = {"valid": {"auc": math.nan, "auc_interval": [math.nan, math.nan], "log_loss": 0.5}, "test": None}
    dataclasses.replace(Package.load(copy), metrics=metrics).save()
    expected = {"valid": {"auc": None, "auc_interval": [None, None], "log_loss": 0.5}, "test": None}
    assert strict_json(copy / "package.json")["metrics"] == Package.load(copy).metrics == expected


def test_unlisted_files_do_no_harm(copy, data):
    (copy / "notes.txt").write_text("mine")
    assert len(load_model(copy).predict(golden_lines(data))) == 100


@pytest.mark.parametrize(
    "name", ["model.onnx", "model.mindir", "vocabulary.tsv", "golden_rows.tsv", "golden_scores.csv"]
)
@pytest.mark.parametrize("damage", ["remove", "truncate", "flip", "link"])
def test_a_damaged_file_is_refused(copy, folder, name, damage):
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "link":
        path.symlink_to(folder / name)
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
        (lambda content: content["recalibration"].update(targets=[-3.0, -0.5, 0.6]), "scored differently"),
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


def test_a_checkpoint_without_mindspore_is_refused_in_one_line(folder, monkeypatch):
    hide(monkeypatch, "mindspore")
    with pytest.raises(UserError, match="a checkpoint needs MindSpore; export it as a package"):
        load_model(folder.with_name("model-checkpoint"))


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


@pytest.fixture
def large(data, tmp_path, monkeypatch, cpu):
    """A package with its tables in a file of their own, and without MindIR."""
    monkeypatch.setattr("src.export.package.LARGE_BYTES", 1000)
    return write_random_package(tmp_path / "large", data, RECALIBRATION)


def test_a_package_with_its_tables_in_a_file_of_their_own_scores_and_explains_alike(large, folder, data):
    assert {*large.files} == {path.name for path in folder.iterdir()} - {"model.mindir", "package.json"} | {
        "model.onnx.data"
    }
    assert large.parameters["embedding"].file == large.parameters["folded_linear"].file == "model.onnx.data"
    lines = golden_lines(data)
    model, expected = load_model(large.path), load_model(folder)
    assert np.array_equal(model.predict(lines), expected.predict(lines))
    assert np.array_equal(model.explain(lines).logits, expected.explain(lines).logits)


@pytest.mark.slow
def test_a_package_of_more_than_1_gb_scores_as_its_network_does(make_dataset, tmp_path, cpu):
    """10,500,000 ids of 24 + 1 values are 1.05 GB."""
    rows = [f"{row % 2}\t{row}\t2\t\t{row * 10_510}\t1\t2\t3" for row in range(1000)]
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", "--embedding_size=1", content="\n".join(rows)))
    network = DeepFM(DeepFMConfig(data.vocabulary_size, len(data.sparse_fields), len(data.dense_fields), 24, (8,)))
    random = np.random.default_rng(3)
    # In place, as a copy would take as much memory again.
    network.embedding.asnumpy()[:] = random.normal(0, 0.1, network.embedding.shape).astype(np.float32)
    encoding = RawEncoding.of_dataset(data)
    lines = [row.partition("\t")[2] for row in rows[-50:]]
    expected = ClickModel(encoding, as_network(DeepFMPredict(network), None)).predict(lines)
    folder = tmp_path / "model"
    folder.mkdir()
    write_package(folder, network, encoding, None, {"valid": None, "test": None})
    assert (folder / "model.onnx.data").stat().st_size > 10**9 and not (folder / "model.mindir").exists()
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(load_model(folder).predict(lines), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("damage", ["remove", "truncate", "unlist"])
def test_damaged_tables_in_a_file_of_their_own_are_refused(large, damage):
    path = large.path / "model.onnx.data"
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        edit(large.path, lambda content: content["files"].pop("model.onnx.data"))
    message = {"remove": "is missing", "truncate": "bytes, not", "unlist": "does not list"}
    with pytest.raises(UserError, match=f"model.onnx.data.*{message[damage]}|{message[damage]}.*model.onnx.data"):
        load_model(large.path)


def test_a_large_package_needs_onnxruntime(large, monkeypatch):
    hide(monkeypatch, "onnxruntime")
    with pytest.raises(UserError, match=r"holds no model\.mindir, as the model is large; pip install onnxruntime"):
        load_model(large.path)


@pytest.mark.parametrize(("hidden", "expected"), [((), "onnxruntime"), (("onnxruntime",), "mindspore")])
def test_whichever_runtime_is_installed_is_used(monkeypatch, hidden, expected):
    hide(monkeypatch, *hidden)
    assert choose_runtime() == expected


def test_without_a_runtime_the_message_names_one(monkeypatch):
    hide(monkeypatch, "onnxruntime", "mindspore")
    with pytest.raises(UserError, match="pip install onnxruntime"):
        choose_runtime()


def hide(monkeypatch, *names):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in names else find(name))


def test_mindspore_alone_scores_a_package(folder, data, monkeypatch):
    expected = load_model(folder).predict(golden_lines(data))
    hide(monkeypatch, "onnxruntime")
    model = load_model(folder)
    assert isinstance(model.network, MindIRNetwork)
    np.testing.assert_allclose(model.predict(golden_lines(data)), expected, rtol=0, atol=TOLERANCE)


def test_a_path_may_hold_any_characters(folder, data, tmp_path):
    path = tmp_path / os.fsdecode("ä b\n{x}*".encode())
    shutil.copytree(folder, path)
    assert len(load_model(path).predict(golden_lines(data))) == 100
