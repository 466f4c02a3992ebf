# SPDX-License-Identifier: Apache-2.0
"""The effects of fields on a real network's predictions."""

import itertools

import numpy as np
import pytest

from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation import field_effects
from src.evaluation.evaluate import evaluate_split
from src.evaluation.field_effects import measure_fields, rows_to_sample
from src.evaluation.field_sample import FieldSample, RowSampler, input_fields
from src.evaluation.importance import draw_donors
from src.evaluation.metrics import log_loss, roc_auc
from tests import oracles
from tests.list_records import write_folder
from tests.networks import make_network, weights_of
from tests.pooled_tables import PooledTables
from tests.records import read_rows

pytestmark = pytest.mark.usefixtures("seeded")


def probabilities_by_hand(weights, sparse_ids, dense_values):
    logits = [oracles.deepfm_logit(weights, *row, 1) for row in zip(sparse_ids, dense_values)]
    return 1 / (1 + np.exp(-np.array(logits)))


def test_the_importance_is_that_of_the_network_on_the_rows_of_the_split(dataset, seeded):
    data = DatasetMeta.load(dataset)
    network = DeepFM(DeepFMConfig(data.vocabulary_size, 7, 3, 2, (3,), keep_prob=0.5))
    for name in ("embedding", "linear"):
        table = getattr(network, name)
        table.set_data(table.value() * 20)
    predictor, sampler = DeepFMPredict(network), RowSampler(ProcessGroup(), 40)
    evaluate_split("test", predictor, create_dataset(data, "test", 50), ProcessGroup(), sampler=sampler)
    network.set_train()
    effects = measure_fields(predictor, sampler.sample(), data, ProcessGroup())
    assert network.training  # as before, though the predictions were without dropout
    assert effects.row_count == 40
    sparse_ids, dense_values, labels = (column[:40] for column in read_rows(dataset, "test"))
    weights = weights_of(network)
    better = probabilities_by_hand(weights, sparse_ids, dense_values)
    found = {each.field: each for each in effects.importance}
    assert list(found) == sorted(found, key=lambda name: -found[name].log_loss_rise.value)
    for number, field in enumerate(data.sparse_fields):
        donors, ids, values = draw_donors(sampler.sample(), field), sparse_ids.copy(), dense_values.copy()
        ids[:, number] = sparse_ids[donors, number]
        if field.startswith("I"):
            values[:, number] = dense_values[donors, number]
        worse = probabilities_by_hand(weights, ids, values)
        rise, drop = (
            log_loss(labels, worse) - log_loss(labels, better),
            roc_auc(labels, better) - roc_auc(labels, worse),
        )
        assert found[field].log_loss_rise.value == pytest.approx(rise, abs=1e-5)  # of float32 logits
        assert found[field].auc_drop.value == pytest.approx(drop, abs=1e-9)


def test_the_terms_of_multi_valued_fields_are_those_of_their_means(tmp_path):
    data = write_folder(tmp_path / "data", (50, 0, 0), 25)
    lengths = tuple(data.list_lengths.values())
    network, (ids, values) = make_network(2, 2 + len(lengths), (), list_lengths=lengths)
    ids, values = ids.asnumpy(), values.asnumpy()
    sample = FieldSample(ids, values, np.array([0, 1] * 4, np.float32), None, 8)
    effects = measure_fields(DeepFMPredict(network), sample, data, ProcessGroup())
    tables = PooledTables(weights_of(network), ids, lengths)
    dense = values[:, :, np.newaxis] * tables.weights["dense_embedding"]
    vectors = np.concatenate([dense, tables.weights["embedding"][tables.ids]], axis=1)
    expected = {}
    for one, other in itertools.combinations(range(len(input_fields(data))), 2):
        terms = (vectors[:, one] * vectors[:, other]).sum(axis=1)
        expected[input_fields(data)[one].name, input_fields(data)[other].name] = terms.std(), terms.mean()
    strongest = sorted(expected, key=lambda pair: -expected[pair][0])[:10]
    assert [pair.fields for pair in effects.pairs] == strongest
    for pair in effects.pairs:
        assert (pair.deviation, pair.mean) == pytest.approx(expected[pair.fields], rel=1e-5, abs=1e-6)


def test_more_fields_have_fewer_rows_and_no_rows_have_no_effects(dataset, monkeypatch):
    data = DatasetMeta.load(dataset)  # 7 fields
    assert (rows_to_sample(data, 20_000), rows_to_sample(data, 0)) == (20_000, 0)
    monkeypatch.setattr(field_effects, "MANY_FIELDS", 3)
    assert (rows_to_sample(data, 70), rows_to_sample(data, 1)) == (30, 1)
    assert measure_fields(None, None, data, ProcessGroup()) is None
