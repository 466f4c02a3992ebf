# SPDX-License-Identifier: Apache-2.0
"""The parts of a logit against the plain formula in float64, and against the probabilities of the model."""

import itertools

import numpy as np
import pytest

from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.package.explanation import Explainer, field_names
from src.package.raw_encoding import RawEncoding
from tests.networks import make_network
from tests.numpy_deepfm import NumpyDeepFM
from tests.packages import RECALIBRATION, checkpoint_of, golden_lines

TOLERANCE = 1e-5  # of float32, for random weights and golden rows, which are larger than trained ones and usual rows


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


def explainer_of(dense_count, sparse_count, hidden_sizes):
    """Return an Explainer of a random network, its weights before folding, and rows for it."""
    network, inputs = make_network(dense_count, sparse_count, hidden_sizes)
    weights = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    network.fold()
    folded = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    identity = DataIdentity(
        "", tuple(f"C{number}" for number in range(sparse_count)), tuple(f"I{number}" for number in range(dense_count)),
        "log", (), network.config.vocabulary_size,
    )  # fmt: skip
    sparse_ids, *others = (tensor.asnumpy() for tensor in inputs)
    dense_values = others[0] if others else np.empty((len(sparse_ids), 0), np.float32)
    return Explainer(folded, identity, None), weights, sparse_ids, dense_values


def vectors_of(weights, sparse_ids, dense_values):
    """Return the vectors of all fields of one row, float64 [F, D]."""
    rows = weights.get("dense_embedding", np.empty((0, 1))).astype(np.float64)
    dense = [value * row for value, row in zip(dense_values.tolist(), rows)]
    return np.array([*dense, *weights["embedding"][sparse_ids].astype(float)])


def test_the_logit_is_that_of_the_plain_formula(cpu):
    explainer, weights, sparse_ids, dense_values = explainer_of(3, 4, (6, 5))
    expected = NumpyDeepFM(weights, hidden_count=2).logits(sparse_ids, dense_values.astype(np.float64))
    explanation = explainer(sparse_ids, dense_values)
    np.testing.assert_allclose(explanation.logits, expected, rtol=0, atol=2e-6)  # the projection is folded in float32
    np.testing.assert_allclose(explanation.probabilities, 1 / (1 + np.exp(-expected)), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dense_count", "sparse_count"), [(3, 4), (0, 4), (0, 2), (2, 1)])
def test_the_pairs_are_the_largest_products_and_the_others_sum_up(cpu, dense_count, sparse_count):
    explainer, weights, sparse_ids, dense_values = explainer_of(dense_count, sparse_count, (6,))
    explanation = explainer(sparse_ids, dense_values)
    for row, (ids, values) in enumerate(zip(sparse_ids, dense_values)):
        vectors = vectors_of(weights, ids, values)
        pairs = itertools.combinations(range(len(vectors)), 2)
        products = {(first, second): vectors[first] @ vectors[second] for first, second in pairs}
        strongest = sorted(map(abs, products.values()), reverse=True)[:5]
        np.testing.assert_allclose(np.abs(explanation.pair_values[row]), strongest, rtol=1e-9)
        named = [products.pop(tuple(pair)) for pair in explanation.pairs[row].tolist()]
        np.testing.assert_allclose(explanation.pair_values[row], named, rtol=1e-9)
        assert explanation.other_pairs[row] == pytest.approx(sum(products.values()), abs=1e-12)


def test_first_order_and_bias_are_the_weights_of_the_fields(cpu):
    explainer, weights, sparse_ids, dense_values = explainer_of(3, 4, (6,))
    explanation = explainer(sparse_ids, dense_values)
    assert explanation.bias == weights["bias"][0]
    np.testing.assert_allclose(explanation.first_order[:, :3], dense_values * weights["dense_linear"][:, 0], rtol=1e-6)
    first_order = weights["linear"][sparse_ids][:, :, 0]  # half of the squares goes into them in float32, and out again
    np.testing.assert_allclose(explanation.first_order[:, 3:], first_order, rtol=0, atol=2e-7)


def test_a_network_without_hidden_layers_has_no_mlp(cpu):
    explainer, weights, sparse_ids, dense_values = explainer_of(3, 4, ())
    explanation = explainer(sparse_ids, dense_values)
    assert not explanation.mlp.any()
    vectors = [vectors_of(weights, *row) for row in zip(sparse_ids, dense_values)]
    pairs = [sum(a @ b for a, b in itertools.combinations(each, 2)) for each in vectors]
    expected = explanation.bias + explanation.first_order.sum(1) + pairs
    np.testing.assert_allclose(explanation.logits, expected, rtol=0, atol=1e-12)


def test_the_parts_of_a_package_sum_to_the_logit_of_its_probability(packages, data):
    lines = golden_lines(data)
    for folder in packages:
        model = load_model(folder)
        explanation = model.explain(lines)
        # Exactly, in the order of the columns, as they are printed.
        frame = explanation.to_frame()
        parts = [frame[name].to_list() for name in frame.columns[:-1] if frame.schema[name].is_float()]
        assert [sum(row) for row in zip(*parts)] == frame["logit"].to_list() == explanation.logits.tolist()
        np.testing.assert_allclose(explanation.probabilities, model.predict(lines), rtol=0, atol=TOLERANCE)


def test_the_recalibration_is_the_shift_of_the_logit(packages, data):
    plain, recalibrated = (load_model(folder).explain(golden_lines(data)) for folder in packages)
    assert not plain.recalibration.any()
    np.testing.assert_allclose(
        plain.logits + recalibrated.recalibration, RECALIBRATION.map_logits(plain.logits), rtol=0, atol=1e-12
    )
    assert np.array_equal(plain.mlp, recalibrated.mlp)


def test_a_checkpoint_explains_as_its_package_does(packages, data):
    checkpoint = checkpoint_of(packages[0])
    RawEncoding.of_dataset(data).save(checkpoint)
    lines = golden_lines(data)
    found, expected = (load_model(path).explain(lines).to_frame() for path in (checkpoint, packages[0]))
    assert found.equals(expected)


def test_the_batches_make_no_difference(packages, data):
    model, lines = load_model(packages[0]), golden_lines(data) * 6
    complete = model.explain(lines).to_frame()
    assert complete.height == 600
    halves = [model.explain(lines[:250]).to_frame(), model.explain(lines[250:]).to_frame()]
    for name, column in complete.to_dict().items():
        joined = halves[0][name].to_list() + halves[1][name].to_list()
        if column.dtype.is_float():
            np.testing.assert_allclose(joined, column, rtol=0, atol=1e-12)
        else:
            assert joined == column.to_list()
    assert model.explain([]).to_frame().schema == complete.schema


def test_fields_with_a_dense_value_and_a_bucket_have_two_names(packages, data):
    names = field_names(load_model(packages[0]).encoding.identity)
    assert names == ("I1", "I2", "I3", "I1 bucket", "I2 bucket", "I3 bucket", "C1", "C2", "C3", "C4")
    columns = load_model(packages[0]).explain(golden_lines(data)[:1]).to_frame().columns
    assert columns[:2] == ["bias", "first_order_I1"]
    assert columns[11:13] == ["pair_1", "pair_1_value"]
    assert columns[-4:] == ["other_pairs", "mlp", "recalibration", "logit"]
