# SPDX-License-Identifier: Apache-2.0
"""Write rows that look like Criteo's, with clicks drawn from a known model, so the best possible AUC is known.

The same bytes for the same seed, whatever the chunk size.
"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import argparse
import pathlib
from collections.abc import Sequence

from src import generator_command
from src.common.errors import run_main
from src.common.flags import Parser


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(
        prog="python -m src.criteo_like",
        description="Write rows that look like Criteo's.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    generator_command.add_flags(parser)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="data/origin_data/train.txt",
        help="file to write; the best possible metrics go to OUT.best.json",
    )
    arguments = parser.parse_args(argv)
    generator_command.check_flags(arguments)
    return arguments


if __name__ == "__main__":
    run_main(parse_arguments)  # a mistake in a flag ends here, before the imports that take time

import json

import numpy as np

from src.click_model import ClickModel
from src.common.output_paths import Kind, Output, prepared
from src.common.progress import Progress

CHUNK_ROWS = 100_000


def main(argv: Sequence[str] | None = None) -> None:
    """Write the rows; argv: flags, those of the command line if None."""
    arguments = parse_arguments(argv)
    with prepared([Output("out", arguments.out, Kind.FILE)]):
        best = write_rows(arguments.out, arguments.rows, arguments.seed)
    print(generator_command.describe(arguments.out, best))


def write_rows(path: pathlib.Path, row_count: int, seed: int, chunk_rows: int = CHUNK_ROWS) -> dict:
    """Write rows to `path` and the best possible metrics to best_metrics_path(path); return those metrics."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    model = ClickModel(seed)
    labels = np.empty(row_count, np.int8)
    probabilities = np.empty(row_count, np.float32)
    progress = Progress("write", row_count, leave=False)
    with open(path, "wb") as out:
        for start in range(0, row_count, chunk_rows):
            rows = np.arange(start, min(start + chunk_rows, row_count), dtype=np.uint64)
            chunk = slice(start, start + len(rows))
            frame, probabilities[chunk] = model.sample(rows)
            labels[chunk] = frame["label"].to_numpy()
            frame.write_csv(out, separator="\t", include_header=False, null_value="", quote_style="never")
            progress.advance(len(rows))
    progress.close()
    best = generator_command.best_metrics(seed, labels, probabilities)
    best_metrics_path(path).write_text(json.dumps(best, indent=2) + "\n", encoding="utf-8")
    return best


def best_metrics_path(path: pathlib.Path) -> pathlib.Path:
    """Return where write_rows(path) puts the metrics of the true probabilities: no model beats them but by chance."""
    return path.with_name(path.name + ".best.json")


if __name__ == "__main__":
    run_main(main)
