# SPDX-License-Identifier: Apache-2.0
"""Write a click log of a known form and its schema, with clicks drawn from a known model, so the best AUC is known.

The same bytes for the same kind, rows and seed, whatever the chunk size.
"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import argparse
import pathlib
from collections.abc import Sequence

from src import generator_command
from src.common.errors import UserError, run_main
from src.common.flags import Parser

KIND_NAMES = ("avazu", "kdd12", "wide", "narrow", "shop")
SCHEMA, BEST = "schema.yaml", "best.json"


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(
        prog="python -m src.synthetic_logs",
        description="Write a click log of another form than Criteo's, and its schema.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--kind", choices=KIND_NAMES, default="avazu", help="form of the log, as in src/synthetic_logs/kinds.py"
    )
    generator_command.add_flags(parser)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="data/synthetic_log",
        help=f"folder to create, of the log, {SCHEMA} for --schema_path and {BEST}, the best possible metrics",
    )
    arguments = parser.parse_args(argv)
    generator_command.check_flags(arguments)
    if arguments.out.is_dir() and any(arguments.out.iterdir()):
        raise UserError(f"--out={arguments.out} is not empty, and its files would mix with the log; name a new folder")
    return arguments


if __name__ == "__main__":
    run_main(parse_arguments)  # a mistake in a flag ends here, before the imports that take time

import contextlib
import json

import numpy as np
import polars as pl
import yaml

from src.common.output_paths import Kind, Output, prepared
from src.common.progress import Progress
from src.evaluation.metrics import log_loss, metrics_for_json, roc_auc
from src.synthetic_logs.kinds import KINDS, LogKind

CHUNK_ROWS = 100_000


def main(argv: Sequence[str] | None = None) -> None:
    """Write the log; argv: flags, those of the command line if None."""
    arguments = parse_arguments(argv)
    with prepared([Output("out", arguments.out, Kind.FOLDER)]):
        best = write_log(arguments.out, arguments.kind, arguments.rows, arguments.seed)
    print(generator_command.describe(arguments.out, best))


def write_log(folder: pathlib.Path, kind_name: str, row_count: int, seed: int, chunk_rows: int = CHUNK_ROWS) -> dict:
    """Write a log, its schema and its best possible metrics into a folder; return those metrics."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = KINDS[kind_name]
    schema = yaml.safe_dump(kind.schema(), sort_keys=False, allow_unicode=True)
    (folder / SCHEMA).write_text(schema, encoding="utf-8")
    labels, probabilities, weights = _write_rows(folder, kind, row_count, seed, chunk_rows)
    best = {"kind": kind_name, **generator_command.best_metrics(seed, labels, probabilities)}
    if weights is not None:
        best["weighted_auc"] = roc_auc(labels, probabilities, weights)
        best["weighted_log_loss"] = log_loss(labels, probabilities, weights)
    (folder / BEST).write_text(json.dumps(metrics_for_json(best), indent=2) + "\n", encoding="utf-8")
    return best


def _write_rows(folder, kind: LogKind, row_count, seed, chunk_rows):
    """Write the rows; return their labels, int8 [n], true probabilities, float32 [n], and weights [n] or None."""
    model = kind.model(seed)
    labels, probabilities = np.empty(row_count, np.int8), np.empty(row_count, np.float32)
    weights = np.empty(row_count) if kind.weight_name else None
    progress = Progress("write", row_count, leave=False)
    with DayFiles(folder, kind) as files:
        for start in range(0, row_count, chunk_rows):
            rows = np.arange(start, min(start + chunk_rows, row_count), dtype=np.uint64)
            chunk = slice(start, start + len(rows))
            labels[chunk], probabilities[chunk], drawn = model.sample(rows, (rows + 0.5) / row_count)
            if weights is not None:
                weights[chunk] = drawn[kind.weight_name]
            files.write(kind.frame(labels[chunk], model.to_cells(drawn)), kind.days(drawn))
            progress.advance(len(rows))
    progress.close()
    return labels, probabilities, weights


class DayFiles:
    """The files of a log, one for each day if its kind has several; a context manager, after which they are closed."""

    def __init__(self, folder: pathlib.Path, kind: LogKind):
        self._folder, self._kind = folder, kind
        self._stack = contextlib.ExitStack()
        self._path, self._file = None, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._stack.close()

    def write(self, frame: pl.DataFrame, days: np.ndarray) -> None:
        """Append rows, each to the file of its day.  days: [n], from 1, none below the one before it."""
        for day in np.unique(days):
            begin, end = np.searchsorted(days, [day, day + 1])
            self._append(self._folder / self._kind.file_name.format(day=day), frame[begin:end])

    def _append(self, path, frame):
        is_new = path != self._path
        if is_new:
            self._stack.close()
            self._path, self._file = path, self._stack.enter_context(open(path, "wb"))
        text = self._kind.text
        frame.write_csv(
            self._file,
            separator=text.separator,
            include_header=is_new and text.has_header,
            null_value=text.missing[0] if text.missing else "",
            quote_style="necessary" if self._kind.is_quoted else "never",
        )


if __name__ == "__main__":
    run_main(main)
