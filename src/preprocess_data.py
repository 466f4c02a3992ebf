# SPDX-License-Identifier: Apache-2.0
"""From raw Criteo rows to MindRecord: python src/preprocess_data.py --data_path=./data/"""

import os
import sys

if __package__ in (None, ""):  # started as a script: make `src` importable
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

    from src.preprocessing import allocator

    os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Turn raw rows of a click log into MindRecord.",
        resume_hint="run the same command again to resume",
    )

from collections.abc import Sequence

from src.common.errors import run_main
from src.config import load_config
from src.preprocessing.source import Source


def check_source() -> None:
    """Raise UserError unless the flags name files of rows."""
    config = load_config()
    Source.find_splits(config.data_path, config.valid_path, config.test_path)


if __name__ == "__main__":
    run_main(check_source)  # a missing file is named before the imports that take time

from src.preprocessing.pipeline import make_records


def main(argv: Sequence[str] | None = None) -> None:
    """Make the MindRecord folder; argv: flags, those of the command line if None."""
    make_records(load_config(argv))


if __name__ == "__main__":
    run_main(main)
