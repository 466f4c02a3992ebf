# SPDX-License-Identifier: Apache-2.0
import dataclasses

import optuna
import pytest

from src.common.dense_encoding import DenseEncoding
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.tuning.recipe_file import recipe_text
from src.tuning.search_space import SearchSpace

DEFAULTS = load_config([])
OTHERS = {
    "dataset_path": "a folder: with # signs",
    "callback": ("a.b:C", "d:E"),
    "dense_encoding": DenseEncoding.LOG,
    "report_path": None,
    "epsilon": 1e-8,
    "do_eval": True,
    "minutes": 5.0,
    "trials": 3,
    "tune_path": "elsewhere",
    "resume": True,
    "overwrite": True,
}


@pytest.mark.parametrize("changes", [{}, OTHERS])
def test_a_recipe_is_read_back_as_the_same_config_without_the_settings_of_the_search(dataset, tmp_path, changes):
    start = dataclasses.replace(DEFAULTS, batch_size=100, **changes)
    space = SearchSpace.of(start, DatasetMeta.load(dataset), frozenset())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    searched = {key: getattr(DEFAULTS, key) for key in ("minutes", "trials", "tune_path", "resume", "overwrite")}
    for values in ({}, *(study.ask(space.distributions).params for _ in range(20))):
        config = space.config_of(values)
        path = tmp_path / "best.yaml"
        path.write_text(recipe_text(config, DEFAULTS, ["a comment", ""]), encoding="utf-8")
        assert load_config([f"--config_path={path}"]) == dataclasses.replace(config, **searched)
        assert path.read_text().startswith("# SPDX-License-Identifier: Apache-2.0\n# a comment\n#\n")
