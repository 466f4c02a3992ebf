# SPDX-License-Identifier: Apache-2.0
"""The quick start's network ranks fields as the click model does that has generated its rows."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from src.checkpoint import find_checkpoint
from src.click_model import INTEGER_COLUMNS, LATENT_CATEGORIES, LATENT_INTEGERS, ClickModel, standardise
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import evaluate_split
from src.evaluation.field_effects import measure_fields
from src.evaluation.field_sample import RowSampler
from src.random_columns import look_up

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cpu")]
SEED = 1  # of the quick start's rows


def true_weights(model, row_count=100_000):
    """Return by field the standard deviation of the change of the true logit if a row gets the field of another row."""
    rows = np.arange(row_count, dtype=np.uint64)
    others = np.random.default_rng(1).permutation(row_count)
    integers, popularities = model.draw_integers(rows), model.draw_popularities(rows)
    standard = [standardise(column, values) for column, values in zip(INTEGER_COLUMNS, integers)]
    linear = {f"I{number + 1}": weight * standard[number] for number, weight in enumerate(model.integer_weights)}
    tables = zip(model.category_weights, popularities)
    linear |= {f"C{number + 1}": look_up(*table) for number, table in enumerate(tables)}
    vectors = dict.fromkeys(linear, np.zeros((row_count, 1)))
    for column, vector in zip(LATENT_INTEGERS, model.integer_vectors):
        vectors[f"I{column + 1}"] = np.outer(standard[column], vector)
    for field, table in zip(LATENT_CATEGORIES, model.category_vectors):
        vectors[f"C{field + 1}"] = look_up(table, popularities[field])
    total = sum(vectors.values())
    weights = {}
    for name, own in vectors.items():
        change = linear[name][others] - linear[name] + ((own[others] - own) * (total - own)).sum(axis=1)
        weights[name] = float(change.std())
    return weights


@pytest.fixture(scope="module")
def effects(quickstart):
    """The effects of fields on the test rows, as eval.py measures them."""
    data = DatasetMeta.load(quickstart / "data" / "mindrecord")
    predictor = DeepFMPredict(find_checkpoint(quickstart / "checkpoint").load_network(target="CPU"))
    sampler = RowSampler(ProcessGroup(), 20_000)
    evaluate_split("test", predictor, create_dataset(data, "test", 1000), ProcessGroup(), sampler=sampler)
    return measure_fields(predictor, sampler.sample(), data, ProcessGroup())


def test_fields_are_ranked_by_their_true_weight(effects):
    weights = true_weights(ClickModel(SEED))
    assert len(effects.importance) == len(weights) == 39
    for metric in ("log_loss_rise", "auc_drop"):
        found = {each.field: getattr(each, metric).value for each in effects.importance}
        assert spearmanr([weights[name] for name in found], list(found.values()))[0] >= 0.95, metric
    assert effects.importance[0].field == max(weights, key=weights.__getitem__)


def test_the_strongest_pairs_are_of_fields_that_interact(effects):
    interacting = {f"I{column + 1}" for column in LATENT_INTEGERS} | {f"C{field + 1}" for field in LATENT_CATEGORIES}
    names = {name for pair in effects.pairs for name in pair.fields}
    assert len(names - interacting) <= 1
    assert all(pair.deviation > 0.05 for pair in effects.pairs)


def test_the_report_of_the_quick_start_shows_them(quickstart, effects):
    report = (quickstart / "report.html").read_text()
    assert f"Measured\non {effects.row_count:,} rows of the test split." in report
    assert f"{effects.importance[0].field} matters most" in report
