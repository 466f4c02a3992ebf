# SPDX-License-Identifier: Apache-2.0
"""The settings that a search varies, their ranges, and the first trials of a search, all by the size of the data."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from src.common.errors import UserError
from src.config import SETTINGS, Config, Role, keys_of
from src.dataset_meta import DatasetMeta

LARGE_ROWS = 1_000_000  # training rows from which networks and batches are those of large data
DIGITS = 3  # significant ones of a number that a search draws
VALIDATIONS_PER_EPOCH = 3
PATIENCE = 5  # validations without improvement that end a trial
FEWEST_STEPS = 32  # of an epoch with the largest batch
LARGEST_BATCH = 16_384
BATCH_SIZES = 4  # each half of the next one
SMALL_SHAPES = ("64,32", "128,64", "256,128", "256,128,64")
LARGE_SHAPES = ("256,128", "400,400,400", "1000,1000,1000", "1024,512,256,128")

# Recipes that do well somewhere.  For fewer than LARGE_ROWS rows networks are small and penalties strong; the others
# are near those that BARS (openbenchmark.github.io) found for all rows of Criteo.
SMALL_RECIPES: tuple[Mapping[str, Any], ...] = (
    {"embedding_size": 8, "hidden_sizes": "64,32", "learning_rate": 1e-3, "lr_schedule": "constant", "l2_coef": 1e-4,
     "l2_linear_factor": 1.0, "keep_prob": 0.8, "embedding_keep_prob": 1.0, "ema_decay": 0.99, "batch_size": 512,
     "train_epochs": 4, "warmup_ratio": 0.05, "value_statistics": False},
    {"embedding_size": 16, "hidden_sizes": "128,64", "learning_rate": 2e-3, "lr_schedule": "one_cycle", "l2_coef": 1e-3,
     "l2_linear_factor": 1.0, "keep_prob": 0.7, "embedding_keep_prob": 1.0, "ema_decay": 0.0, "batch_size": 1024,
     "train_epochs": 3, "warmup_ratio": 0.1, "value_statistics": False},
    {"embedding_size": 8, "hidden_sizes": "128,64", "learning_rate": 1e-3, "lr_schedule": "constant", "l2_coef": 2e-3,
     "l2_linear_factor": 0.1, "keep_prob": 0.7, "embedding_keep_prob": 0.9, "ema_decay": 0.995, "batch_size": 512,
     "train_epochs": 10, "warmup_ratio": 0.05, "value_statistics": True},
    {"embedding_size": 16, "hidden_sizes": "256,128,64", "learning_rate": 1e-3, "lr_schedule": "one_cycle",
     "l2_coef": 3e-4, "l2_linear_factor": 1.0, "keep_prob": 0.5, "embedding_keep_prob": 0.9, "ema_decay": 0.0,
     "batch_size": 256, "train_epochs": 3, "warmup_ratio": 0.1, "value_statistics": True},
)  # fmt: skip
LARGE_RECIPES: tuple[Mapping[str, Any], ...] = (
    {"embedding_size": 16, "hidden_sizes": "400,400,400", "learning_rate": 1e-3, "lr_schedule": "constant",
     "l2_coef": 1e-5, "l2_linear_factor": 1.0, "keep_prob": 0.8, "embedding_keep_prob": 1.0, "ema_decay": 0.0,
     "batch_size": 8192, "train_epochs": 3, "warmup_ratio": 0.0, "value_statistics": False},
    {"embedding_size": 16, "hidden_sizes": "1000,1000,1000", "learning_rate": 1e-3, "lr_schedule": "one_cycle",
     "l2_coef": 1e-5, "l2_linear_factor": 1.0, "keep_prob": 0.8, "embedding_keep_prob": 1.0, "ema_decay": 0.0,
     "batch_size": 8192, "train_epochs": 1, "warmup_ratio": 0.05, "value_statistics": False},
    {"embedding_size": 32, "hidden_sizes": "256,128", "learning_rate": 1e-3, "lr_schedule": "constant",
     "l2_coef": 1e-6, "l2_linear_factor": 1.0, "keep_prob": 0.9, "embedding_keep_prob": 1.0, "ema_decay": 0.998,
     "batch_size": 4096, "train_epochs": 2, "warmup_ratio": 0.05, "value_statistics": False},
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The distributions of the settings that a search varies, by key; they depend on the size of the data alone.

    start: the configuration with all other settings, and those of the first trial.  fixed: the keys of settings that a
    flag gives, which no trial changes.  The value of a tuple is a text, as in a flag.
    """

    start: Config
    data: DatasetMeta = dataclasses.field(repr=False)
    fixed: Collection[str]
    distributions: dict[str, BaseDistribution]

    @classmethod
    def of(cls, start: Config, data: DatasetMeta, fixed: Collection[str]) -> "SearchSpace":
        """Return the space for a set of data; UserError if nothing is left to search."""
        every = _distributions(data)
        distributions = {key: each for key, each in every.items() if key not in fixed and not each.single()}
        if not distributions:
            raise UserError(f"nothing is left to search: flags give {', '.join(f'--{key}' for key in every)}")
        return cls(start, data, fixed, distributions)

    def config_of(self, values: Mapping[str, Any], seed: int | None = None) -> Config:
        """Return the Config of a trial.

        values: by key, as optuna draws them; none for the settings of `start`.  seed: another than that of `start`.
        """
        settings = {key: _setting(key, value) for key, value in values.items()}
        settings["seed"] = self.start.seed if seed is None else seed
        config = dataclasses.replace(self.start, **settings)
        return dataclasses.replace(config, **self._validations(config))

    def identity(self) -> dict[str, Any]:
        """Return by name all that the trials have in common, for JSON; a resumed search must keep it."""
        settings = {f"--{key}": as_value(getattr(self.start, key)) for key in keys_of(Role.RUN_IDENTITY, Role.TRAINING)}
        files = [file.sha256 for name in ("train", "valid") for file in self.data.splits[name].files]
        flags = ", ".join(sorted(set(self.fixed) & _distributions(self.data).keys()))
        return {**settings, "the list of searched settings that flags fix": flags, "the SHA-256 of the shards": files}

    def first_trials(self) -> dict[str, dict[str, Any]]:
        """Return the values of the trials that come first, by name: those of `start`, then recipes known elsewhere.

        Those of `start` are none if it is outside the space, as the defaults are for small data.
        """
        recipes = SMALL_RECIPES if self.data.splits["train"].rows < LARGE_ROWS else LARGE_RECIPES
        own = {key: as_value(getattr(self.start, key)) for key in self.distributions}
        first = {"start": own if all(map(contains, self.distributions.values(), own.values())) else {}}
        for number, recipe in enumerate(recipes, 1):
            wanted = {key: recipe[key] for key in self.distributions}
            values = {key: nearest(self.distributions[key], value) for key, value in wanted.items()}
            if values not in first.values():
                first[f"recipe {number}"] = values
        return first

    def _validations(self, config):
        """Return the settings that decide when a trial is validated and when it ends early, unless flags give them."""
        steps = self.data.steps_per_epoch(config.batch_size, 1)
        settings = {
            "eval_every_steps": math.ceil(steps / VALIDATIONS_PER_EPOCH),
            "early_stop_patience": PATIENCE,
            "sink_size": 1,  # blocks of steps would forbid some of these numbers
        }
        return {key: value for key, value in settings.items() if key not in self.fixed}


def as_value(setting: Any) -> Any:
    """Return a setting as optuna has it: a tuple is text."""
    return ",".join(map(str, setting)) if isinstance(setting, tuple) else setting


def _setting(key, value):
    """Return the setting that a value of optuna stands for; of a number as many digits as one would write."""
    return SETTINGS[key].parse(float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Tell whether a distribution has a value."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return distribution.low <= value <= distribution.high  # type: ignore[attr-defined]


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """Return the value of a distribution that is nearest to one that may be outside; of a text itself."""
    if contains(distribution, value):
        return value
    if isinstance(distribution, CategoricalDistribution):
        return min(distribution.choices, key=lambda choice: abs(choice - value))
    return min(max(value, distribution.low), distribution.high)  # type: ignore[attr-defined]


def _distributions(data: DatasetMeta) -> dict[str, BaseDistribution]:
    is_small = data.splits["train"].rows < LARGE_ROWS
    shapes = SMALL_SHAPES if is_small else LARGE_SHAPES
    return {
        "learning_rate": FloatDistribution(3e-4, 5e-3, log=True),
        "lr_schedule": CategoricalDistribution(("constant", "one_cycle")),
        "warmup_ratio": CategoricalDistribution((0.0, 0.05, 0.1)),
        "train_epochs": IntDistribution(2, 16) if is_small else IntDistribution(1, 4),
        "batch_size": CategoricalDistribution(batch_sizes(data)),
        "embedding_size": CategoricalDistribution((4, 8, 16, 32)),
        "hidden_sizes": CategoricalDistribution(shapes),
        "keep_prob": FloatDistribution(0.4, 1.0),
        "embedding_keep_prob": FloatDistribution(0.7, 1.0),
        "l2_coef": FloatDistribution(1e-5, 1e-2, log=True) if is_small else FloatDistribution(1e-8, 1e-4, log=True),
        "l2_linear_factor": FloatDistribution(0.01, 1.0, log=True),
        "ema_decay": CategoricalDistribution((0.0, 0.98, 0.99, 0.995, 0.998)),
        # Data without a vocabulary have no statistics.
        "value_statistics": CategoricalDistribution((False,) if data.settings["skip_id_convert"] else (False, True)),
    }


def batch_sizes(data: DatasetMeta) -> tuple[int, ...]:
    """Return batch sizes that the records of the training set can make, the largest of FEWEST_STEPS steps an epoch."""
    split, rows = data.splits["train"], data.rows_per_record
    largest = 2 ** int(math.log2(min(max(split.rows / FEWEST_STEPS, 1), LARGEST_BATCH)))
    wanted = (max(largest >> power, 1) for power in reversed(range(BATCH_SIZES)))
    return tuple(dict.fromkeys(min(math.ceil(size / rows), split.records) * rows for size in wanted))
