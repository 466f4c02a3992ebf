# SPDX-License-Identifier: Apache-2.0
"""best.yaml: the settings of a recipe, for --config_path, with a comment on where they come from."""

import dataclasses
import enum
import pathlib
from collections.abc import Sequence

import yaml

from src.common.files import write_text
from src.common.flags import this_command
from src.common.values import NONE
from src.config import Config
from src.tuning.folder import RECIPE_NAME
from src.tuning.outcome import Outcome

LICENCE = "SPDX-License-Identifier: Apache-2.0"
# The settings of a search itself, which the recipe does not have.
LEFT_OUT = ("minutes", "trials", "tune_path", "resume", "overwrite")


def write_recipe(folder: pathlib.Path, outcome: Outcome, defaults: Config) -> None:
    """Write best.yaml in a folder: the settings of the recipe that differ from the defaults."""
    write_text(folder / RECIPE_NAME, recipe_text(outcome.config, defaults, comment(outcome)))


def recipe_text(config: Config, defaults: Config, lines: Sequence[str]) -> str:
    """Return YAML with the settings of a Config that differ from the defaults.  lines: of the comment above them."""
    text = yaml.safe_dump(differing(config, defaults), sort_keys=False, default_flow_style=None, allow_unicode=True)
    return "\n".join([*(f"# {line}".rstrip() for line in (LICENCE, *lines)), text])


def comment(outcome: Outcome) -> list[str]:
    """Return the lines that tell where a recipe comes from and how good it is."""
    data = outcome.space.data
    seeds = len(outcome.chosen.trials)
    return [
        "The best recipe of a search.",
        f"Command:  {this_command()}",
        f"Search:   {len(outcome.trials)} trials in {outcome.seconds / 60:.1f} minutes",
        f"Expect:   validation log loss {outcome.log_loss.selection:.4f} and AUC {outcome.auc.selection:.4f} on the "
        "half that chose it,",
        f"          {outcome.log_loss.held_out:.4f} and {outcome.auc.held_out:.4f} on the other half "
        f"(mean of {seeds} seed{'s' * (seeds > 1)})",
        f"Data:     {data.splits['train'].rows:,} training rows, vocabulary SHA-256 {data.vocabulary_sha256}",
    ]


def differing(config: Config, defaults: Config) -> dict[str, object]:
    """Return the settings that differ from the defaults, as YAML has them, in the order of default_config.yaml."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in LEFT_OUT]
    pairs = {name: (getattr(config, name), getattr(defaults, name)) for name in names}
    return {name: _for_yaml(value) for name, (value, default) in pairs.items() if value != default}


def _for_yaml(value):
    if isinstance(value, tuple):
        return list(value) or NONE
    if isinstance(value, enum.Enum):
        return value.value
    return NONE if value is None else value
