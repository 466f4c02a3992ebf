# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from src.random_columns import Streams
from src.synthetic_logs.kinds import SHOP, numbers_from
from src.synthetic_logs.model import Category, LogModel, Number, RowId, Tags, Time
from tests import oracles

ROWS = np.arange(20_000, dtype=np.uint64)
TIMES = (ROWS + 0.5) / len(ROWS)
STREAMS = Streams(1).take(10)


def draw(column, drawn=None):
    return column.draw(STREAMS, ROWS, TIMES, drawn or {})


def test_clicks_follow_the_probabilities():
    labels, probabilities, _ = SHOP.model(3).sample(ROWS, TIMES)
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 1.0)):
        inside = (probabilities >= low) & (probabilities < high)
        expected = probabilities[inside].mean()
        assert abs(labels[inside].mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / inside.sum())


def test_the_logits_are_those_of_a_factorization_machine():
    # One row, by the formula: the effects of what it holds, and the products of all pairs of their vectors.
    columns = (
        Number("age", "integers", median=10, spread=1, effect=np.sin, interacts=True),
        Category("brand", 5, numbers_from(0), interacts=True),
        Tags("tags", 30, 3, "|", numbers_from(0), interacts=True),
        Category("page", 40, numbers_from(0)),
    )
    model = LogModel(columns, 0.2, 0.5, seed=2)
    rows, times = ROWS[:50], TIMES[:50]
    _, probabilities, drawn = model.sample(rows, times)
    age, brand, tags, page = model.tables
    for row in range(50):
        x = np.clip(math.log((drawn["age"][row] + 1) / 11), -2.5, 2.5)
        zeros = np.zeros(3)
        of_tags = [tags[tag] if tag < len(tags) else zeros for tag in drawn["tags"][row] if tag >= 0]
        parts = [
            np.array([math.sin(x), *(x * age[0, 1:])]),
            brand[drawn["brand"][row]],
            np.mean(of_tags, axis=0) if of_tags else zeros,
        ]
        of_page = page[drawn["page"][row], 0] if drawn["page"][row] < len(page) else 0
        effects = sum(part[0] for part in parts) + of_page + oracles.second_order([part[1:] for part in parts])
        logit = model.bias + 0.5 * (times[row] - 0.5) + model.scale * effects
        assert probabilities[row] == pytest.approx(1 / (1 + math.exp(-logit)))


def test_ids_have_20_digits_and_differ():
    ids = RowId("id").to_cells(draw(RowId("id")), 0)
    assert ids.n_unique() == len(ROWS)
    assert {len(str(each)) for each in ids} == {20}


def test_times_never_go_back_and_nights_are_quiet():
    column = Time("time", days=2, form="%Y-%m-%d %H:%M:%S")
    seconds = draw(column)
    assert (np.diff(seconds) >= 0).all()
    assert 0 <= seconds[0] < seconds[-1] < 2 * 86_400
    by_hour = np.bincount(seconds // 3600, minlength=48)
    assert by_hour.min() > 0
    assert by_hour[3] == pytest.approx(0.25 * by_hour[15], rel=0.1)  # 1 - 0.6 against 1 + 0.6
    assert column.to_cells(np.array([0, 90_061]), 0).to_list() == ["2014-10-21 00:00:00", "2014-10-22 01:01:01"]


def test_a_value_gives_way_to_one_that_never_occurred():
    values = draw(Category("ad", 99, numbers_from(0), generations=3))
    times = [TIMES[values == generation] for generation in range(3)]  # of the most frequent values of their time
    assert min(len(each) for each in times) > 100
    assert times[0].max() < times[1].min() < times[1].max() < times[2].min()
    assert len(np.unique(values)) == 99


def test_the_head_of_a_column_has_its_fraction_of_the_rows():
    values = draw(Category("device", 1000, numbers_from(0), head_rate=0.8, generations=2))
    assert (values == 0).mean() == pytest.approx(0.8, abs=0.012)
    assert values.max() < 1000


def test_a_parent_decides_the_value():
    parent = draw(Category("site", 500, numbers_from(0)))
    values = Category("kind", 20, numbers_from(0), tail_fraction=0.5, parent="site").draw(
        STREAMS[5:], ROWS, TIMES, {"site": parent}
    )
    assert len(np.unique(values)) == 20
    assert len(np.unique(parent * 20 + values)) == len(np.unique(parent))


def test_tags_of_a_row_differ():
    column = Tags("tags", 10, 4, "|", numbers_from(0))
    cells = column.to_cells(draw(column), 0)
    rows = [[] if cell is None else cell.split("|") for cell in cells]
    assert all(len(tags) == len(set(tags)) for tags in rows)
    assert {len(tags) for tags in rows} == {0, 1, 2, 3, 4}
