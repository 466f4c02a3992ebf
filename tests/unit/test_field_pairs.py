# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from src.distributed.process_group import ProcessGroup
from src.evaluation import field_pairs
from src.evaluation.field_pairs import FieldPair, strongest_pairs
from src.evaluation.field_sample import FieldSample, InputField

TABLE = np.random.default_rng(1).normal(0, 1, (30, 5)).astype(np.float32)
DENSE = np.random.default_rng(2).normal(0, 1, (2, 5)).astype(np.float32)
FIELDS = [
    InputField("value", dense_index=0),
    InputField("both", range(1), 0, 1),
    *(InputField(f"C{number}", range(number, number + 1), number) for number in (1, 2, 3)),
]


def look_up(sparse_ids):
    assert len(sparse_ids) == 16  # so that the network is compiled once
    return TABLE[sparse_ids]


def draw_sample(row_count, seed, weights=None):
    random = np.random.default_rng(seed)
    ids = random.integers(0, 30, (row_count, 4)).astype(np.int32)
    values = random.normal(0, 1, (row_count, 2)).astype(np.float32)
    return FieldSample(ids, values, np.zeros(row_count, np.float32), weights, 16)


def pairs_by_loops(sample):
    """Return the pairs of fields with the deviation and the mean of their terms, row by row, the strongest first."""
    terms = {pair: [] for pair in itertools.combinations(FIELDS, 2)}
    weights = []
    for row in range(sample.row_count):
        if sample.labels[row] == -1:
            continue
        weights.append(1.0 if sample.weights is None else float(sample.weights[row]))
        vectors = {}
        for field in FIELDS:
            vector = np.zeros(5)
            if field.dense_index is not None:
                vector += float(sample.dense_values[row, field.dense_index]) * DENSE[field.dense_index].astype(
                    np.float64
                )
            if field.sparse_index is not None:
                vector += TABLE[sample.sparse_ids[row, field.sparse_index]]
            vectors[field] = vector
        for pair, found in terms.items():
            found.append(sum(one * other for one, other in zip(vectors[pair[0]], vectors[pair[1]])))
    pairs = []
    for (first, second), found in terms.items():
        mean = np.average(found, weights=weights)
        deviation = np.sqrt(np.average((np.array(found) - mean) ** 2, weights=weights))
        pairs.append(FieldPair((first.name, second.name), deviation, mean))
    return sorted(pairs, key=lambda pair: -pair.deviation)


def check(found, expected):
    assert [pair.fields for pair in found] == [pair.fields for pair in expected]
    for name in ("deviation", "mean"):
        np.testing.assert_allclose([getattr(pair, name) for pair in found], [getattr(pair, name) for pair in expected],
                                   rtol=1e-5, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("most_products", [1, 25 * 7, 1 << 20])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_pairs_are_those_of_a_loop_over_rows(monkeypatch, most_products, is_weighted):
    monkeypatch.setattr(field_pairs, "MOST_PRODUCTS", most_products)
    weights = np.random.default_rng(3).random(75).astype(np.float32) if is_weighted else None
    sample = draw_sample(75, 4, weights)
    sample.labels[70:] = -1  # padding
    check(strongest_pairs(look_up, DENSE, sample, FIELDS, ProcessGroup()), pairs_by_loops(sample))


def test_a_constant_term_is_weak_however_large_it_is():
    sample = draw_sample(50, 5)
    sample.sparse_ids[:, 1:3] = 7  # C1 and C2: one vector each, and its square is their term
    *_, last = strongest_pairs(look_up, DENSE, sample, FIELDS, ProcessGroup())
    assert (last.fields, last.deviation) == (("C1", "C2"), pytest.approx(0, abs=1e-6))
    assert last.mean == pytest.approx(float(TABLE[7].astype(np.float64) @ TABLE[7]))


def test_at_most_ten_pairs_and_none_of_a_single_field():
    sample = draw_sample(20, 6)
    many = [InputField(f"C{number}", range(1), number % 4) for number in range(6)]
    assert len(strongest_pairs(look_up, None, sample, many, ProcessGroup())) == 10  # of 15
    assert strongest_pairs(look_up, None, sample, many[:1], ProcessGroup()) == []


class Recorder(ProcessGroup):
    """Keeps what this rank gives to the others."""

    def gather(self, column):
        self.given = column
        return column


class Second(ProcessGroup):
    """The second of two ranks.  first: what the first one gives."""

    def __init__(self, first):
        super().__init__(rank=1)
        self.count, self._first = 2, first

    def gather(self, column):
        return np.concatenate([self._first, column])


def test_the_rows_of_all_ranks_count():
    one, other = draw_sample(40, 7), draw_sample(40, 8)
    other.labels[30:] = -1
    other.dense_values[:] += 3  # so that the means of both ranks differ
    recorder = Recorder()
    strongest_pairs(look_up, DENSE, one, FIELDS, recorder)
    found = strongest_pairs(look_up, DENSE, other, FIELDS, Second(recorder.given))
    columns = [(one.sparse_ids, other.sparse_ids), (one.dense_values, other.dense_values), (one.labels, other.labels)]
    check(found, pairs_by_loops(FieldSample(*map(np.concatenate, columns), None, 16)))
