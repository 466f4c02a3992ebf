# SPDX-License-Identifier: Apache-2.0
import dataclasses

import optuna
import pytest

from src.common.errors import UserError
from src.config import Config, load_config
from src.dataset_meta import DatasetMeta, ShardFile, SplitMeta
from src.tuning.search_space import SearchSpace, as_value, batch_sizes, contains

DEFAULTS = load_config([])


def data_of(dataset, rows, rows_per_record):
    """Return the metadata of `dataset` with other numbers of training rows."""
    records = -(-rows // rows_per_record)
    split = SplitMeta(
        rows, rows // 4, records * rows_per_record - rows, records, (ShardFile("train", records, 1, "s"),)
    )
    data = DatasetMeta.load(dataset)
    return dataclasses.replace(data, rows_per_record=rows_per_record, splits={**data.splits, "train": split})


@pytest.mark.parametrize(
    ("rows", "rows_per_record", "expected"),
    [
        (72_993, 8, (256, 512, 1024, 2048)),  # 72,993 / 32 = 2281
        (72_993, 100, (300, 600, 1100, 2100)),
        (40_000_000, 1000, (3000, 5000, 9000, 17_000)),  # at most 16,384, in complete records
        (963, 50, (50,)),  # 963 / 32 = 30
        (20, 50, (50,)),
        (5, 1, (1,)),
    ],
)
def test_batches_suit_the_number_of_rows_and_consist_of_complete_records(dataset, rows, rows_per_record, expected):
    data = data_of(dataset, rows, rows_per_record)
    assert batch_sizes(data) == expected
    for size in expected:
        data.records_per_batch("train", size, training_ranks=1)  # raises if it cannot be


@pytest.mark.parametrize("rows", [5000, 72_993, 999_999, 1_000_000, 36_000_000])
def test_every_first_trial_and_every_draw_is_a_valid_recipe(dataset, rows):
    space = SearchSpace.of(dataclasses.replace(DEFAULTS, batch_size=400), data_of(dataset, rows, 100), frozenset())
    trials = space.first_trials()
    assert len(trials) >= 4
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    drawn = [study.ask(space.distributions).params for _ in range(50)]
    for values in (*trials.values(), *drawn):
        assert not values or values.keys() == space.distributions.keys()
        assert all(contains(space.distributions[key], value) for key, value in values.items())
        assert_config_is_valid(space.config_of(values))


def assert_config_is_valid(config):
    """Check that flags with its values give the same Config, so that all types and limits are right."""
    flags = []
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if value not in (None, ()):
            flags.append(f"--{field.name}={as_value(value)}")
    assert load_config(flags) == config


def test_the_first_trial_has_the_settings_of_the_user_inside_and_outside_the_space(dataset):
    data = data_of(dataset, 72_993, 8)
    inside = dataclasses.replace(
        DEFAULTS, learning_rate=0.00123456, hidden_sizes=(64, 32), embedding_size=16, batch_size=512, l2_coef=0.003,
        keep_prob=0.6, embedding_keep_prob=0.9, ema_decay=0.99, warmup_ratio=0.1, train_epochs=4,
    )  # fmt: skip
    for start, is_inside in ((DEFAULTS, False), (inside, True)):
        space = SearchSpace.of(start, data, frozenset())
        values = space.first_trials()["start"]
        assert bool(values) == is_inside
        config = space.config_of(values)
        every_steps = 48 if is_inside else 2  # a third of 142 and of 4 steps
        expected = dataclasses.replace(start, eval_every_steps=every_steps, early_stop_patience=5)
        assert config == dataclasses.replace(expected, learning_rate=config.learning_rate)
        assert config.learning_rate == pytest.approx(start.learning_rate, rel=0.005)


def test_flags_fix_settings_those_of_the_validations_too(dataset):
    fixed = frozenset({"batch_size", "hidden_sizes", "eval_every_steps", "seed"})
    start = dataclasses.replace(DEFAULTS, batch_size=400, eval_every_steps=7)
    space = SearchSpace.of(start, data_of(dataset, 72_993, 100), fixed)
    assert not fixed & space.distributions.keys()
    for values in space.first_trials().values():
        config = space.config_of(values)
        assert (config.batch_size, config.hidden_sizes, config.eval_every_steps) == (400, DEFAULTS.hidden_sizes, 7)
    assert space.config_of({}, seed=9).seed == 9


def test_a_search_without_a_setting_is_refused(dataset):
    every = SearchSpace.of(DEFAULTS, data_of(dataset, 72_993, 8), frozenset()).distributions
    with pytest.raises(UserError, match="nothing is left to search: flags give --learning_rate, --lr_schedule"):
        SearchSpace.of(DEFAULTS, DatasetMeta.load(dataset), frozenset(every))
