# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import shutil

import numpy as np
import pytest

from src.common.errors import UserError
from src.data_identity import DataIdentity
from src.dataset_meta import PADDING_LABEL, DatasetMeta
from src.export.inference_files import read_outputs, write_inputs
from tests.limits import files_of_at_most
from tests.records import read_rows


@pytest.fixture
def written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("src.export.inference_files.FILE_ROWS", 60)  # records have 50 rows
    manifest = write_inputs(DatasetMeta.load(dataset), tmp_path / "in")
    return tmp_path / "in", manifest


def test_the_files_hold_the_rows_of_the_test_split(written, dataset):
    folder, manifest = written
    ids, values, labels = read_rows(dataset, "test")
    real = labels.ravel() != PADDING_LABEL
    assert manifest.rows == real.sum() == DatasetMeta.load(dataset).splits["test"].rows
    assert [file.rows for file in manifest.files][:-1] == [50] * (len(manifest.files) - 1)
    content = json.loads((folder / "manifest.json").read_text())
    assert content["rows"] == manifest.rows
    assert content["files"] == [{"name": file.name, "rows": file.rows} for file in manifest.files]
    assert content["inputs"] == {
        "sparse_ids": {"dtype": "int32", "width": 7},
        "dense_values": {"dtype": "float32", "width": 3},
        "labels": {"dtype": "float32", "width": 1},
    }
    for name, column, kind in (
        ("00_sparse_ids", ids, np.int32), ("01_dense_values", values, np.float32), ("02_labels", labels, np.float32)
    ):  # fmt: skip
        files = sorted((folder / name).iterdir())
        assert [file.name for file in files] == [file.name for file in manifest.files]
        read = np.concatenate([np.fromfile(file, kind) for file in files])
        np.testing.assert_array_equal(read, column[real].ravel())


def test_data_without_dense_values_have_no_folder_for_them(make_dataset, tmp_path):
    dataset = make_dataset("--dense_encoding=bucket")
    write_inputs(DatasetMeta.load(dataset), tmp_path / "in")
    assert list(json.loads((tmp_path / "in" / "manifest.json").read_text())["inputs"]) == ["sparse_ids", "labels"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [
        "00_sparse_ids", "02_labels", "data_identity.txt", "manifest.json",
    ]  # fmt: skip


def test_an_earlier_result_is_replaced_and_anything_else_is_not(written, dataset):
    folder, manifest = written
    (folder / "02_labels" / "left.bin").write_text("")
    assert write_inputs(DatasetMeta.load(dataset), folder) == manifest
    assert not (folder / "02_labels" / "left.bin").exists()
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="exists and was not written by preprocess"):
        write_inputs(DatasetMeta.load(dataset), folder)
    assert (folder / "02_labels").exists()


def test_inputs_that_cannot_be_written_leave_the_earlier_ones(written, dataset):
    folder, manifest = written
    with files_of_at_most(100), pytest.raises(OSError):
        write_inputs(DatasetMeta.load(dataset), folder)
    assert json.loads((folder / "manifest.json").read_text())["rows"] == manifest.rows
    assert [path.name for path in folder.parent.iterdir()] == ["in"]


@pytest.fixture
def predicted(written, tmp_path):
    """The folder of inputs, its manifest, a folder of predictions as the runner writes it, and the predictions."""
    folder, manifest = written
    out = tmp_path / "out"
    out.mkdir()
    expected = np.random.default_rng(1).random(manifest.rows).astype(np.float32)
    ends = np.cumsum([file.rows for file in manifest.files])
    for file, part in zip(manifest.files, np.split(expected, ends[:-1])):
        part.tofile(out / file.name)
    shutil.copy(folder / "data_identity.txt", out)
    return folder, manifest, out, expected


def test_outputs_are_read_with_the_labels_and_checked_against_the_manifest(predicted, tmp_path, capsys):
    folder, manifest, out, expected = predicted
    labels, probabilities = read_outputs(out, folder / "02_labels")
    np.testing.assert_array_equal(probabilities, expected)
    assert set(labels) == {0.0, 1.0}
    assert capsys.readouterr().err == ""
    last = out / manifest.files[-1].name
    last.write_bytes(last.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"bytes; \d+ rows of float32 were expected"):
        read_outputs(out, folder / "02_labels")
    last.unlink()
    with pytest.raises(UserError, match=f"{last.name} is missing"):
        read_outputs(out, folder / "02_labels")
    with pytest.raises(UserError, match=r"manifest\.json is missing or damaged"):
        read_outputs(out, tmp_path / "other" / "02_labels")


def test_the_inputs_carry_the_identity_of_their_data(written, dataset):
    folder, manifest = written
    digest = DataIdentity.of_dataset(DatasetMeta.load(dataset)).digest()
    assert manifest.data_identity == digest
    assert f"data_identity={digest}\n" in (folder / "data_identity.txt").read_text()


def test_predictions_of_a_model_of_other_data_are_refused(predicted, make_dataset, capsys):
    folder, _, out, _ = predicted
    other = make_dataset("--threshold=4")
    DataIdentity.of_dataset(DatasetMeta.load(other)).save_text(out)
    with pytest.raises(UserError, match=r"out holds predictions of a model of other data \(data identity \w{12}\)"):
        read_outputs(out, folder / "02_labels")
    (out / "data_identity.txt").unlink()
    read_outputs(out, folder / "02_labels")
    assert capsys.readouterr().err.startswith(f"warning: {out} has no data identity")


def test_inputs_of_an_older_version_have_no_identity_and_give_a_warning(predicted, capsys):
    folder, _, out, expected = predicted
    content = json.loads((folder / "manifest.json").read_text())
    del content["data_identity"]
    (folder / "manifest.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(read_outputs(out, folder / "02_labels")[1], expected)
    warnings = capsys.readouterr().err
    assert warnings.count("\n") == 1
    assert warnings.startswith(f"warning: {folder}/manifest.json has no data identity")


@pytest.mark.parametrize("value", [np.nan, -0.001, 1.001, np.inf])
def test_a_value_that_is_no_probability_is_refused_with_its_file_and_row(predicted, value):
    folder, manifest, out, _ = predicted
    path = out / manifest.files[1].name
    values = np.fromfile(path, np.float32)
    values[[2, 5]] = value
    values.tofile(path)
    with pytest.raises(UserError, match=rf"{path}: row 3: the probability .* must be from 0 to 1"):
        read_outputs(out, folder / "02_labels")


@pytest.mark.parametrize("value", [np.nan, -1, 0.5, 2])
def test_a_value_that_is_no_label_is_refused_with_its_file_and_row(predicted, value):
    folder, manifest, out, _ = predicted
    path = folder / "02_labels" / manifest.files[0].name
    values = np.fromfile(path, np.float32)
    values[-1] = value
    values.tofile(path)
    with pytest.raises(UserError, match=rf"{path}: row {len(values)}: the label .* must be 0 or 1"):
        read_outputs(out, folder / "02_labels")


@pytest.mark.parametrize("content", ["[]", '{"files": []}', '{"files": [1]}', "not JSON"])
def test_a_damaged_manifest_is_refused(predicted, content):
    folder, _, out, _ = predicted
    (folder / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"preprocess\.py"):
        read_outputs(out, folder / "02_labels")


@pytest.mark.parametrize(("cwd", "label_path"), [("in/02_labels", "."), ("in/00_sparse_ids", "../02_labels/")])
def test_the_labels_may_be_named_from_within(predicted, tmp_path, monkeypatch, cwd, label_path):
    _, _, out, expected = predicted
    monkeypatch.chdir(tmp_path / cwd)
    np.testing.assert_array_equal(read_outputs(out, label_path)[1], expected)


def test_the_working_directory_is_not_replaced(dataset, tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for path in (".", tmp_path / "inner"):
        with pytest.raises(UserError, match="holds the working directory"):
            write_inputs(DatasetMeta.load(dataset), path)


def test_ids_outside_the_table_are_refused(dataset, tmp_path):
    meta = DatasetMeta.load(dataset)
    smaller = dataclasses.replace(meta, vocabulary_size=meta.vocabulary_size // 2)
    with pytest.raises(
        UserError, match=r"split test, batch 1: row \d+, column \d+: the id \d+ is not one of the \d+ ids"
    ):
        write_inputs(smaller, tmp_path / "in")
