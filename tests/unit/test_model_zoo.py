# SPDX-License-Identifier: Apache-2.0
import itertools

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.common.errors import UserError
from src.export.model_zoo import load_model_zoo

pytestmark = pytest.mark.usefixtures("cpu")
N, S, D = 3, 4, 5
IDS = 40  # of all fields, the dense ones first
SIZES = (7, 6, 5, 4)


@pytest.fixture
def weights():
    """The parameters of a small network of the model zoo, and those of Adam."""
    random = np.random.default_rng(1)
    sizes = [(N + S) * D, *SIZES, 1]
    shapes = {"W_l2": (IDS, 1), "V_l2": (IDS, D), "moment1.V_l2": (IDS, D), "beta1_power": ()}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        shapes |= {f"dense_layer_{layer}.weight": (inputs, outputs), f"dense_layer_{layer}.bias": (outputs,)}
    return {name: random.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def save(tmp_path):
    def save_weights(weights):
        path = tmp_path / "deepfm-5_41257.ckpt"
        ms.save_checkpoint([{"name": name, "data": Tensor(value)} for name, value in weights.items()], str(path))
        return path

    return save_weights


def model_zoo(weights, ids, values):
    """Return the logits [B, 1] of the model zoo's network in float64; ids, values: of all fields, [B, N + S].

    logit = sum_i w_i x_i + (|sum_i v_i x_i|^2 - sum_i |v_i x_i|^2) / 2 + layers([v_1 x_1 .. v_F x_F])
    """
    weights = {name: value.astype(np.float64) for name, value in weights.items()}
    vectors = weights["V_l2"][ids] * values[:, :, None]
    logits = (weights["W_l2"][ids][:, :, 0] * values).sum(axis=1)
    logits += (vectors.sum(axis=1) ** 2 - (vectors**2).sum(axis=1)).sum(axis=1) / 2
    hidden = vectors.reshape(len(ids), -1)
    for layer in range(1, 6):
        hidden = hidden @ weights[f"dense_layer_{layer}.weight"] + weights[f"dense_layer_{layer}.bias"]
        hidden = np.maximum(hidden, 0) if layer < 5 else hidden
    return logits[:, None] + hidden


def test_the_converted_network_predicts_as_the_model_zoo_did(weights, save):
    network = load_model_zoo(save(weights), dense_field_count=N)
    assert network.config.hidden_sizes == SIZES
    random = np.random.default_rng(2)
    ids = np.hstack([np.tile(np.arange(N), (9, 1)), random.integers(N, IDS, (9, S))])
    values = np.hstack([random.normal(size=(9, N)), np.ones((9, S))])
    values[0, 0] = 0  # a missing integer
    found = network(Tensor((ids[:, N:] - N).astype(np.int32)), Tensor(values[:, :N].astype(np.float32)))
    np.testing.assert_allclose(found.asnumpy(), model_zoo(weights, ids, values), rtol=1e-4, atol=1e-5)


def test_a_file_without_all_parameters_is_refused_and_they_are_named(weights, save, tmp_path):
    del weights["dense_layer_3.bias"], weights["W_l2"]
    with pytest.raises(
        UserError, match=r"not a checkpoint of the model zoo's DeepFM: it lacks W_l2, dense_layer_3\.bias"
    ):
        load_model_zoo(save(weights))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(UserError, match=r"text\.ckpt is not a checkpoint"):
        load_model_zoo(tmp_path / "text.ckpt")
