# SPDX-License-Identifier: Apache-2.0
"""Score raw rows: python predict.py --model_path=MODEL --input_path=rows.txt --output_path=scores.csv"""

import os

from src.distributed.entry_point import enter

if __name__ == "__main__":
    from src.preprocessing import allocator

    os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)
    enter()

import contextlib
import sys
from collections.abc import Sequence

from src.common.errors import run_main
from src.common.options import load_options
from src.scoring.options import DESCRIPTION, STANDARD_STREAM, ScoringOptions
from src.scoring.paths import check_paths


def read_options(argv: Sequence[str] | None = None) -> ScoringOptions:
    """Return the options; argv: flags, those of the command line if None."""
    options = load_options(ScoringOptions, argv, DESCRIPTION)
    check_paths(options)
    return options


if __name__ == "__main__":
    run_main(read_options)  # a mistake in a flag ends here, before the imports that take time

from src.common.output_paths import Kind, Output, prepared
from src.package import ClickModel, load_model
from src.package.many_rows import one_blas_thread
from src.scoring.output_file import open_output
from src.scoring.row_source import RowSource
from src.scoring.scoring import score_rows
from src.scoring.summary import describe


def main(argv: Sequence[str] | None = None) -> None:
    """Score the rows; argv: flags, those of the command line if None."""
    options = read_options(argv)
    if options.output_path != STANDARD_STREAM:
        with prepared([Output("output_path", options.output_path, Kind.FILE)]):
            predict(options)
        return
    with contextlib.redirect_stdout(sys.stderr):  # messages
        try:
            predict(options)
        except BrokenPipeError:  # `| head`
            print("note: the reader of the scores has closed the pipe")


def predict(options: ScoringOptions) -> None:
    """Score the rows that the options name, and print a summary."""
    source = RowSource.find(options.input_path)
    model = load_model(options.model_path, threads=1, many_rows=True)  # the chunks of rows are scored in parallel
    with open_output(options.output_path, identity(model, source, options)) as output, one_blas_thread():
        rows = score_rows(model, source, output, options)
    print(describe(rows, source, model.encoding, options.output_path))


def identity(model: ClickModel, source: RowSource, options: ScoringOptions) -> dict | None:
    """Return all that the scores depend on, a dict for JSON; None if the rows can be read only once."""
    if not source.is_file:
        return None
    settings = [options.keep_columns, options.on_bad_row, options.explain]
    network = type(model.network).__name__  # which decides the last digits
    return {"rows": source.identity(), "model": model.digest, "network": network, "settings": settings}


if __name__ == "__main__":
    run_main(main)
