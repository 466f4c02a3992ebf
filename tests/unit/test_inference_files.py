# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from src.dataset_meta import DatasetMeta
from src.errors import UserError
from src.inference_files import read_outputs, write_inputs
from src.metrics import PADDING_LABEL
from tests.records import read_rows


@pytest.fixture
def written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("src.inference_files.FILE_ROWS", 60)  # records have 50 rows
    manifest = write_inputs(dataset, DatasetMeta.load(dataset), tmp_path / "in")
    return tmp_path / "in", manifest


def test_the_files_hold_the_rows_of_the_test_split(written, dataset):
    folder, manifest = written
    ids, values, labels = read_rows(dataset, "test")
    real = labels.ravel() != PADDING_LABEL
    assert manifest["rows"] == real.sum() == DatasetMeta.load(dataset).splits["test"].rows
    assert [file["rows"] for file in manifest["files"]][:-1] == [50] * (len(manifest["files"]) - 1)
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    for name, column, kind in (
        ("00_sparse_ids", ids, np.int32), ("01_dense_values", values, np.float32), ("02_labels", labels, np.float32)
    ):  # fmt: skip
        files = sorted((folder / name).iterdir())
        assert [file.name for file in files] == [file["name"] for file in manifest["files"]]
        read = np.concatenate([np.fromfile(file, kind) for file in files])
        np.testing.assert_array_equal(read, column[real].ravel())


def test_data_without_dense_values_have_no_folder_for_them(make_dataset, tmp_path):
    dataset = make_dataset("--dense_encoding=bucket")
    manifest = write_inputs(dataset, DatasetMeta.load(dataset), tmp_path / "in")
    assert list(manifest["inputs"]) == ["sparse_ids", "labels"]
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["00_sparse_ids", "02_labels", "manifest.json"]


def test_an_earlier_result_is_replaced_and_anything_else_is_not(written, dataset):
    folder, manifest = written
    (folder / "02_labels" / "left.bin").write_text("")
    assert write_inputs(dataset, DatasetMeta.load(dataset), folder) == manifest
    assert not (folder / "02_labels" / "left.bin").exists()
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="is there and was not written by preprocess"):
        write_inputs(dataset, DatasetMeta.load(dataset), folder)
    assert (folder / "02_labels").exists()


def test_outputs_are_read_beside_the_labels_and_checked_against_the_manifest(written, tmp_path):
    folder, manifest = written
    out = tmp_path / "out"
    out.mkdir()
    expected = np.random.default_rng(1).random(manifest["rows"]).astype(np.float32)
    ends = np.cumsum([file["rows"] for file in manifest["files"]])
    for file, part in zip(manifest["files"], np.split(expected, ends[:-1])):
        part.tofile(out / file["name"])
    labels, probabilities = read_outputs(out, folder / "02_labels")
    np.testing.assert_array_equal(probabilities, expected)
    assert set(labels) == {0.0, 1.0}
    last = out / manifest["files"][-1]["name"]
    last.write_bytes(last.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"bytes; \d+ rows of float32 were expected"):
        read_outputs(out, folder / "02_labels")
    last.unlink()
    with pytest.raises(UserError, match=f"{last.name} is missing"):
        read_outputs(out, folder / "02_labels")
    with pytest.raises(UserError, match=r"manifest\.json is missing or damaged"):
        read_outputs(out, tmp_path / "other" / "02_labels")
