# SPDX-License-Identifier: Apache-2.0
import numpy as np
import onnxruntime
import pytest

from src.deepfm import DeepFMPredict
from src.export.onnx_file import network_graph, save_onnx, tables_of
from tests.networks import make_network


def run_onnx(path, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    names = ("sparse_ids", "dense_values")
    feeds = {name: tensor.asnumpy() for name, tensor in zip(names, inputs)}
    return onnxruntime.InferenceSession(path, options).run(None, feeds)[0]


@pytest.mark.parametrize("is_external", [False, True])
@pytest.mark.parametrize(("dense_count", "hidden_sizes"), [(3, (5, 4)), (0, (5,)), (2, ())])
def test_the_tables_are_put_into_the_graph_or_next_to_it(tmp_path, cpu, is_external, dense_count, hidden_sizes):
    network, inputs = make_network(dense_count, 4, hidden_sizes)
    expected = DeepFMPredict(network)(*inputs).asnumpy()
    path = tmp_path / "model.onnx"
    external = tmp_path / "tables" if is_external else None
    positions = save_onnx(network_graph(network), tables_of(network), path, external)
    np.testing.assert_allclose(run_onnx(path, inputs), expected, rtol=0, atol=1e-6)
    for name, table in tables_of(network).items():
        place = positions[name]
        assert place.file == ("tables" if is_external else "model.onnx")
        assert np.array_equal(np.memmap(tmp_path / place.file, "<f4", "r", place.offset, place.shape), table)
    names = {"folded_linear", "embedding", "bias"}
    assert set(positions) >= names | ({"dense_squares", "dense_embedding"} if dense_count else set())


def test_the_network_itself_is_not_changed(cpu):
    network, _ = make_network(3, 4, (5,))
    before = {each.name: each.asnumpy().copy() for each in network.get_parameters()}
    network_graph(network)
    after = {each.name: each.asnumpy() for each in network.get_parameters()}
    assert before.keys() == after.keys() and all(np.array_equal(after[name], before[name]) for name in before)
