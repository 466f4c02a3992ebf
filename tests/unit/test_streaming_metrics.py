# SPDX-License-Identifier: Apache-2.0
"""Metrics of chunks, compared with those of all rows at once, which test_metrics.py compares with oracles."""

import io

import numpy as np
import pytest

from src.evaluation import streaming_metrics
from src.evaluation.metrics import compute_metrics
from src.evaluation.streaming_metrics import StreamingMetrics

PREDICTIONS = {
    "like those of a network": lambda random, n: 1 / (1 + np.exp(-random.normal(-1.5, 1.5, n))),
    "tiny": lambda random, n: np.exp(-6 - 10 * random.random(n)),
    "even": lambda random, n: random.random(n),
    "tied": lambda random, n: random.integers(0, 30, n) / 29,
    "all alike": lambda random, n: np.full(n, 0.3),
    "within a narrow range": lambda random, n: 0.25 + 0.01 * random.random(n),
}


def sample(name, rows, seed=1):
    """Return labels and probabilities, where the probability of a click rises with the prediction."""
    random = np.random.default_rng(seed)
    probabilities = PREDICTIONS[name](random, rows).astype(np.float32)
    ranks = np.argsort(np.argsort(probabilities)) / rows
    return (random.random(rows) < 0.1 + 0.4 * ranks).astype(np.float32), probabilities


def stream(labels, probabilities, cuts=()):
    metrics = StreamingMetrics()
    for chunk in zip(np.split(labels, cuts), np.split(probabilities, cuts)):
        metrics.add(*chunk)
    return metrics


def assert_close(actual, expected, auc_error):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        error = {"auc": auc_error, "auc_interval": 10 * auc_error, "calibration_error": 1e-14}.get(name, 0)
        assert actual[name] == pytest.approx(value, rel=1e-12, abs=error, nan_ok=True), name


@pytest.mark.parametrize("name", PREDICTIONS)
def test_few_distinct_probabilities_give_the_metrics_of_all_rows(name):
    labels, probabilities = sample(name, 20_000)
    metrics = stream(labels, probabilities, cuts=(1, 1, 7000, 19_000))
    assert metrics.auc_error_bound() == 0
    assert_close(metrics.compute(), compute_metrics(labels, probabilities), auc_error=1e-12)


@pytest.mark.parametrize("name", ["like those of a network", "tiny", "even"])
def test_many_distinct_probabilities_come_close_to_them(name):
    labels, probabilities = sample(name, 700_000)
    metrics = stream(labels, probabilities, cuts=range(100_000, len(labels), 100_000))
    assert 0 < metrics.auc_error_bound() < 1e-5
    assert_close(metrics.compute(), compute_metrics(labels, probabilities), auc_error=1e-7)


@pytest.mark.parametrize("most_keys", [2, 16, 1000])
@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_auc_is_never_off_by_more_than_its_bound(name, most_keys, monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", most_keys)
    labels, probabilities = sample(name, 3000)
    for clicks in (labels, (probabilities > np.median(probabilities)).astype(np.float32)):  # the second: AUC 1
        metrics = stream(clicks, probabilities)
        error = abs(metrics.compute()["auc"] - compute_metrics(clicks, probabilities)["auc"])
        assert error <= metrics.auc_error_bound() + 1e-12 or (np.isnan(error) and name == "all alike")


def test_the_division_into_chunks_makes_no_difference(monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_PENDING", 500)
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 300)
    labels, probabilities = sample("even", 5000)
    expected = stream(labels, probabilities).compute()
    for cuts in (range(1, 5000, 37), range(500, 5000, 1000), (0, 4999)):
        assert_close(stream(labels, probabilities, cuts).compute(), expected, auc_error=0)


@pytest.mark.parametrize("row_count", [0, 1, 40_000, 90_000])
def test_stored_and_continued_metrics_are_the_same_to_the_last_bit(row_count, monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 10_000)
    labels, probabilities = sample("like those of a network", 100_000)
    undisturbed = stream(labels, probabilities, cuts=[row_count])
    file = io.BytesIO()
    np.savez(file, **stream(labels[:row_count], probabilities[:row_count]).state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        resumed = StreamingMetrics.from_state(state)
    resumed.add(labels[row_count:], probabilities[row_count:])
    assert resumed.compute() == undisturbed.compute()
    assert (resumed.rows, resumed.clicks) == (100_000, labels.sum())
    assert resumed.auc_error_bound() == undisturbed.auc_error_bound() > 0


def test_the_state_does_not_grow_with_the_rows():
    metrics = StreamingMetrics()
    for seed in range(12):
        metrics.add(*sample("even", 250_000, seed))
    assert sum(array.nbytes for array in metrics.state().values()) < 6.3e6


@pytest.mark.filterwarnings("error")
def test_one_class_and_no_rows_have_the_metrics_that_they_can_have():
    for labels in (np.ones(3, np.float32), np.zeros(3, np.float32)):
        probabilities = np.array([0, 0.5, 1], np.float32)
        assert_close(stream(labels, probabilities).compute(), compute_metrics(labels, probabilities), auc_error=0)
    empty = StreamingMetrics()
    assert all(np.isnan(value).all() for value in empty.compute().values())
    assert empty.auc_error_bound() == 0


def test_one_click_has_a_wide_interval():
    labels, probabilities = np.array([1, 0, 0], np.float32), np.array([0.5, 0.2, 0.7], np.float32)
    assert_close(stream(labels, probabilities).compute(), compute_metrics(labels, probabilities), auc_error=1e-15)


@pytest.mark.parametrize(
    "probabilities",
    [np.array([0.5, np.nan], np.float32), np.array([-0.1, 0], np.float32), np.array([1.1, 0], np.float32), np.zeros(2)],
)
def test_what_is_not_a_float32_probability_is_refused(probabilities):
    with pytest.raises(ValueError, match="the probabilities must be float32 numbers from 0 to 1"):
        StreamingMetrics().add(np.zeros(2, np.float32), probabilities)


def test_negative_zero_is_zero():
    labels, probabilities = np.array([1, 0, 0], np.float32), np.array([-0.0, 0.0, 0.1], np.float32)
    assert stream(labels, probabilities).compute()["auc"] == 0.25


def weighted_sample(name, rows, seed=1):
    """Return the rows of sample with weights, a tenth of which are 0."""
    random = np.random.default_rng(seed)
    weights = random.lognormal(sigma=1.5, size=rows).astype(np.float32)
    weights[random.random(rows) < 0.1] = 0
    return *sample(name, rows, seed), weights


def stream_weighted(columns, cuts=()):
    metrics = StreamingMetrics()
    for chunk in zip(*(np.split(column, cuts) for column in columns)):
        metrics.add(*chunk)
    return metrics


@pytest.mark.parametrize("name", PREDICTIONS)
def test_weighted_rows_with_few_distinct_probabilities_give_the_metrics_of_all_rows(name):
    columns = weighted_sample(name, 20_000)
    metrics = stream_weighted(columns, cuts=(1, 1, 7000, 19_000))
    assert metrics.auc_error_bound() == 0
    assert_close(metrics.compute(), compute_metrics(*columns), auc_error=1e-12)
    assert metrics.weight == pytest.approx(columns[2].sum(dtype=np.float64), rel=1e-12)
    assert (metrics.rows, metrics.clicks) == (np.sum(columns[2] > 0), columns[0][columns[2] > 0].sum())


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_weighted_auc_is_never_off_by_more_than_its_bound(name, monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 16)
    columns = weighted_sample(name, 3000)
    metrics = stream_weighted(columns)
    assert abs(metrics.compute()["auc"] - compute_metrics(*columns)["auc"]) <= metrics.auc_error_bound() + 1e-12


def test_the_division_of_weighted_rows_into_chunks_makes_no_difference_beyond_rounding(monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_PENDING", 500)
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 300)
    columns = weighted_sample("even", 5000)
    expected = stream_weighted(columns)
    for cuts in (range(1, 5000, 37), range(500, 5000, 1000), (0, 4999)):
        found = stream_weighted(columns, cuts)
        assert_close(found.compute(), expected.compute(), auc_error=1e-12)
        assert np.array_equal(found.state()["keys"], expected.state()["keys"])


def test_a_streamed_row_of_weight_k_counts_as_k_rows_and_weights_of_1_as_none():
    labels, probabilities = sample("tied", 3000)
    repeats = np.random.default_rng(2).integers(0, 4, 3000)
    found = stream_weighted((labels, probabilities, repeats.astype(np.float32))).compute()
    expected = stream(np.repeat(labels, repeats), np.repeat(probabilities, repeats)).compute()
    del found["auc_interval"], expected["auc_interval"]  # repeated rows are more rows
    assert_close(found, expected, auc_error=1e-12)
    found = stream_weighted((labels, probabilities, np.ones(3000, np.float32)))
    assert_close(found.compute(), stream(labels, probabilities).compute(), auc_error=1e-12)


@pytest.mark.parametrize("row_count", [0, 1, 40_000, 90_000])
def test_stored_and_continued_weighted_metrics_are_the_same_but_for_rounding(row_count, monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 10_000)
    columns = weighted_sample("like those of a network", 100_000)
    file = io.BytesIO()
    np.savez(file, **stream_weighted([column[:row_count] for column in columns]).state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as state:
        resumed = StreamingMetrics.from_state(state)
    assert resumed.has_weights
    resumed.add(*(column[row_count:] for column in columns))
    assert_close(resumed.compute(), stream_weighted(columns, [row_count]).compute(), auc_error=1e-12)


@pytest.mark.filterwarnings("error")
def test_weights_of_0_are_no_rows():
    metrics = stream_weighted((*sample("even", 10), np.zeros(10, np.float32)))
    assert all(np.isnan(value).all() for value in metrics.compute().values())
    assert (metrics.weight, StreamingMetrics().weight) == (0, None)


def test_rows_with_and_without_weights_do_not_mix():
    for first, second in ((1, None), (None, 1)):
        metrics = StreamingMetrics()
        metrics.add(*sample("even", 10), first and np.ones(10, np.float32))
        with pytest.raises(ValueError, match="either all rows have weights or none"):
            metrics.add(*sample("even", 10), second and np.ones(10, np.float32))
