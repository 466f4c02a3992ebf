# SPDX-License-Identifier: Apache-2.0
"""Write a first schema of a log, to be corrected: python -m src.infer_schema log.csv --out=schema.yaml"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import argparse
import pathlib
from collections.abc import Sequence

from src.common.errors import UserError, run_main
from src.common.flags import Parser


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(
        prog="python -m src.infer_schema",
        description="Write a first schema of a log, for --schema_path, from its first rows.",
    )
    parser.add_argument("file", metavar="FILE", help="file, folder or pattern, as --data_path takes it")
    parser.add_argument("--out", type=pathlib.Path, help="YAML file to write; without it the schema is printed")
    parser.add_argument("--rows", type=int, default=100_000, help="number of rows to read (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.rows < 1:
        raise UserError(f"--rows={arguments.rows}: must be at least 1")
    if arguments.out is not None and arguments.out.is_file():
        raise UserError(f"--out={arguments.out} exists, perhaps with your corrections; remove it or name another path")
    return arguments


if __name__ == "__main__":
    run_main(parse_arguments)  # a mistake in a flag ends here, before the imports that take time

import sys

from src.common.files import write_text
from src.common.output_paths import Kind, Output, prepared
from src.preprocessing.schema_inference.column_types import describe_column, find_missing_texts
from src.preprocessing.schema_inference.comments import NO_LABEL
from src.preprocessing.schema_inference.criteo_form import has_criteo_form
from src.preprocessing.schema_inference.first_rows import FirstRows, read_first_rows
from src.preprocessing.schema_inference.roles import assign_roles
from src.preprocessing.schema_inference.schema_text import write_schema
from src.preprocessing.source import Source


def main(argv: Sequence[str] | None = None) -> None:
    """Print or write the schema; argv: flags, those of the command line if None."""
    arguments = parse_arguments(argv)
    source = find_source(arguments.file)
    with prepared([] if arguments.out is None else [Output("out", arguments.out, Kind.FILE)]):
        rows = read_first_rows(source, arguments.rows)
        if has_criteo_form(rows, is_csv=".csv" in source.files[0].suffixes):
            print(f"note: {source} has Criteo's form: it needs no schema", file=sys.stderr)
            return
        text = infer_schema(source.files[0].name, rows)
        if arguments.out is None:
            print(text, end="")
        else:
            write_text(arguments.out, text)
            print(f"{arguments.out}: a schema of {source}, from {rows.frame.height:,} rows; check its comments")


def find_source(path: str) -> Source:
    """Return the source at a path; UserError if there is none."""
    try:
        return Source.find(path, "FILE")
    except UserError as error:
        raise UserError(str(error).replace("--FILE", "FILE")) from None  # it is no flag


def infer_schema(name: str, rows: FirstRows) -> str:
    """Return the text of a schema of rows; tell on stderr if the label is not found.  name: of their source."""
    missing = find_missing_texts(rows.frame)
    separator = rows.text.separator if rows.text else ""
    roles = assign_roles([describe_column(column, missing, separator) for column in rows.frame])
    if roles.label is None:
        print(f"note: the label is not found: {NO_LABEL}; name it in the schema", file=sys.stderr)
    return write_schema(name, rows, roles, missing)


if __name__ == "__main__":
    run_main(main, prints_result=True)
