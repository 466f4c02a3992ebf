# SPDX-License-Identifier: Apache-2.0
"""Model packages whose tables are in a file of their own."""

import shutil

import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.export.package import write_package
from src.package import load_model
from src.package.checkpoint_network import as_network
from src.package.model import ClickModel
from src.package.raw_encoding import RawEncoding
from tests.packages import RECALIBRATION, edit, golden_lines, hide, write_random_package


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture(scope="module")
def large(data, tmp_path_factory, cpu):
    """A package with its tables in a file of their own, and without MindIR."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("src.export.package.LARGE_BYTES", 1000)
        return write_random_package(tmp_path_factory.mktemp("large") / "model", data, RECALIBRATION)


def test_a_package_with_its_tables_in_a_file_of_their_own_scores_and_explains_alike(large, packages, data):
    assert {*large.files} == {path.name for path in packages[1].iterdir()} - {"model.mindir", "package.json"} | {
        "model.onnx.data"
    }
    assert large.parameters["embedding"].file == large.parameters["folded_linear"].file == "model.onnx.data"
    lines = golden_lines(data)
    model, expected = load_model(large.path), load_model(packages[1])
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
def test_damaged_tables_in_a_file_of_their_own_are_refused(large, tmp_path, damage):
    copy = shutil.copytree(large.path, tmp_path / "model")
    path = copy / "model.onnx.data"
    if damage == "remove":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        edit(copy, lambda content: content["files"].pop("model.onnx.data"))
    message = {"remove": "is missing", "truncate": "bytes, not", "unlist": "does not list"}
    with pytest.raises(UserError, match=f"model.onnx.data.*{message[damage]}|{message[damage]}.*model.onnx.data"):
        load_model(copy)


def test_a_large_package_needs_onnxruntime(large, monkeypatch):
    hide(monkeypatch, "onnxruntime")
    with pytest.raises(UserError, match=r"holds no model\.mindir, as the model is large; pip install onnxruntime"):
        load_model(large.path)
