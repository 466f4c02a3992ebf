# SPDX-License-Identifier: Apache-2.0
"""The text of docs/configuration.md: python -m src.config_reference > docs/configuration.md"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import itertools

from src.common.errors import run_main
from src.config import SETTINGS, read_help

COMMAND = "python -m src.config_reference > docs/configuration.md"
HEAD = f"""\
<!-- Generated: {COMMAND} -->

# Configuration

All commands take the same settings: from `default_config.yaml`, then from the file of `--config_path=FILE`, then from
flags; the last one counts. A file of your own needs only the keys that differ; the recipes in `config/` are examples.
An unknown key is an error, and so is a value that is not allowed. Booleans are `True`, `true`, `1` and `False`,
`false`, `0`; a list is written `400,400`, or as in YAML. `--help` prints all this, too.
"""
TABLE_HEAD = "| flag | default | allowed values | meaning |\n|---|---|---|---|"


def describe_settings() -> str:
    """Return the reference of all settings as Markdown: a table for each group of default_config.yaml."""
    groups = itertools.groupby(read_help().items(), key=lambda item: item[1].group)
    sections = [f"## {group}\n\n{TABLE_HEAD}\n" + "\n".join(itertools.starmap(_row, items)) for group, items in groups]
    return "\n".join([HEAD, "\n\n".join(sections), ""])


def _row(key, flag):
    return f"| `--{key}` | `{flag.default}` | {SETTINGS[key].describe()} | {flag.meaning} |"


if __name__ == "__main__":
    run_main(lambda: print(describe_settings(), end=""), prints_result=True)
