# SPDX-License-Identifier: Apache-2.0
"""The network of many rows, whose first layer is computed once for each value, against the plain formula."""

import concurrent.futures

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_info

from src.common.dense_encoding import DenseEncoding
from src.dataset_meta import DatasetMeta
from src.package import load_model, many_rows
from src.package.many_rows import BATCH_ROWS, ManyRowsNetwork, is_possible, one_blas_thread
from src.package.runtime import OnnxNetwork
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.vocabulary import TABLE_SCHEMA, Vocabulary
from tests.networks import make_network, weights_of
from tests.numpy_deepfm import NumpyDeepFM
from tests.packages import RECALIBRATION, golden_lines, hide, write_random_package

VALUES = 20  # those of make_network


def parts_of(dense_count, sparse_count, hidden_sizes, **options):
    """Return the weights of a random network, its folded parameters, and an encoder; id i is of field i % S."""
    network, _ = make_network(dense_count, sparse_count, hidden_sizes, **options)
    weights = weights_of(network)
    network.fold()
    parameters = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
    schema = FieldSchema.criteo(dense_count, sparse_count)
    rows = [(schema.category_names[number % sparse_count], str(number), number, 1) for number in range(VALUES)]
    vocabulary = Vocabulary(pl.DataFrame(rows, schema=TABLE_SCHEMA, orient="row"))
    return weights, parameters, FeatureEncoder(schema, DenseEncoding.LOG, (), vocabulary)


def draw_rows(count, dense_count, sparse_count):
    random = np.random.default_rng(2)
    per_field = VALUES // sparse_count
    sparse_ids = sparse_count * random.integers(0, per_field, (count, sparse_count)) + np.arange(sparse_count)
    return sparse_ids.astype(np.int32), random.normal(0, 1, (count, dense_count)).astype(np.float32)


@pytest.mark.parametrize("has_statistics", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, (6, 5)), (3, 4, (6,)), (1, 5, (7, 6, 5)), (2, 1, (3,))])
def test_the_probabilities_are_those_of_the_plain_formula(cpu, shape, has_statistics):
    weights, parameters, encoder = parts_of(*shape, has_statistics=has_statistics)
    sparse_ids, dense_values = draw_rows(50, *shape[:2])
    logits = NumpyDeepFM(weights, len(shape[2])).logits(sparse_ids, dense_values.astype(np.float64))
    probabilities = ManyRowsNetwork(parameters, encoder, None)(sparse_ids, dense_values)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)


def test_a_network_without_dense_values(cpu):
    weights, parameters, encoder = parts_of(0, 4, (6, 5))
    sparse_ids, dense_values = draw_rows(50, 0, 4)
    weights |= {"dense_embedding": np.zeros((0, 4)), "dense_linear": np.zeros((0, 1))}
    weights["deep.dense_weight"] = np.zeros((0, 4, 6))
    logits = NumpyDeepFM(weights, 2).logits(sparse_ids, dense_values.astype(np.float64))
    probabilities = ManyRowsNetwork(parameters, encoder, None)(sparse_ids, dense_values)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-6)


def test_rows_do_not_depend_on_batches_and_threads(cpu):
    network = ManyRowsNetwork(*parts_of(3, 4, (6, 5))[1:], None)
    rows = draw_rows(2 * BATCH_ROWS + 7, 3, 4)
    probabilities = network(*rows)
    alone = [network(*(column[row : row + 1] for column in rows))[0] for row in (0, BATCH_ROWS, len(rows[0]) - 1)]
    np.testing.assert_allclose(probabilities[[0, BATCH_ROWS, -1]], alone, rtol=0, atol=1e-6)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: network(*rows), range(8)):
            np.testing.assert_array_equal(again, probabilities)
    assert network(*(column[:0] for column in rows)).shape == (0,)


def test_a_recalibration_follows_the_network(cpu):
    _, parameters, encoder = parts_of(3, 4, (6, 5))
    rows = draw_rows(50, 3, 4)
    expected = RECALIBRATION.apply(ManyRowsNetwork(parameters, encoder, None)(*rows))
    np.testing.assert_array_equal(ManyRowsNetwork(parameters, encoder, RECALIBRATION)(*rows), expected)


def test_the_table_is_computed_in_portions(cpu, monkeypatch):
    _, parameters, encoder = parts_of(3, 4, (6, 5), has_statistics=True)
    rows = draw_rows(50, 3, 4)
    expected = ManyRowsNetwork(parameters, encoder, None)(*rows)
    monkeypatch.setattr(many_rows, "VALUES_AT_ONCE", 2)
    np.testing.assert_allclose(ManyRowsNetwork(parameters, encoder, None)(*rows), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("has_statistics", [False, True])
@pytest.mark.parametrize("recalibration", [None, RECALIBRATION])
def test_a_package_scores_many_rows_as_few(cpu, dataset, tmp_path, recalibration, has_statistics):
    data = DatasetMeta.load(dataset)
    write_random_package(tmp_path / "model", data, recalibration, has_statistics=has_statistics)
    prepared, plain = (load_model(tmp_path / "model", many_rows=many) for many in (True, False))
    assert isinstance(prepared.network, ManyRowsNetwork) and isinstance(plain.network, OnnxNetwork)
    lines = golden_lines(data)
    np.testing.assert_allclose(prepared.predict(lines), plain.predict(lines), rtol=0, atol=1e-6)


def test_a_table_that_is_damaged_is_found_by_the_golden_rows(packages, monkeypatch):
    compute = many_rows._value_table
    monkeypatch.setattr(many_rows, "_value_table", lambda *arguments: compute(*arguments) + 0.01)
    with pytest.raises(ValueError, match="the golden rows are scored differently"):
        load_model(packages[0], many_rows=True)


def test_networks_of_other_forms_stay_as_they_are(cpu, packages, monkeypatch):
    _, parameters, encoder = parts_of(3, 4, (6, 5))
    assert is_possible(parameters, encoder)
    assert not is_possible(parts_of(3, 4, ())[1], encoder)
    with_ids, with_lists = FieldSchema.criteo(3, 4, True), FieldSchema(("I1",), ("C1",), ("C2",), ("|",))
    for schema in (with_ids, with_lists):
        assert not is_possible(parameters, FeatureEncoder(schema, DenseEncoding.LOG, (), encoder.vocabulary))
    table_bytes = VALUES * (6 + 4 + 1) * 4
    monkeypatch.setattr(many_rows, "LARGEST_TABLE_BYTES", table_bytes)
    assert is_possible(parameters, encoder)
    monkeypatch.setattr(many_rows, "LARGEST_TABLE_BYTES", table_bytes - 1)
    assert not is_possible(parameters, encoder)
    assert isinstance(load_model(packages[0], many_rows=True).network, OnnxNetwork)


def test_without_scipy_a_package_is_run_by_its_runtime(packages, monkeypatch):
    hide(monkeypatch, "scipy")
    assert isinstance(load_model(packages[0], many_rows=True).network, OnnxNetwork)


def test_each_thread_that_scores_multiplies_alone():
    def thread_counts():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = thread_counts()
    with one_blas_thread():
        assert thread_counts() == [1] * len(before)
    assert before and thread_counts() == before
