# SPDX-License-Identifier: Apache-2.0
"""The flags of predict.py."""

import dataclasses
import enum
import os

from src.common.errors import UserError
from src.common.options import option

STANDARD_STREAM = "-"
DESCRIPTION = "Score raw rows with a trained model."


class OnBadRow(str, enum.Enum):
    """What becomes of a malformed row."""

    SKIP = "skip"
    EMPTY = "empty"
    FAIL = "fail"

    def __str__(self):
        return self.value


@dataclasses.dataclass(frozen=True)
class ScoringOptions:
    """The settings of predict.py."""

    model_path: str = option("model package, .ckpt file, or folder of checkpoints for its best one")
    input_path: str = option("raw rows with or without a label: text, .gz, .tar.gz, or - for stdin")
    output_path: str = option("CSV file of the probabilities, or - for stdout")
    keep_columns: str | None = option("columns of the rows to append to the output, such as label,C3", None)
    on_bad_row: OnBadRow = option(
        "malformed rows: skip leaves them out, empty gives them no probability, fail ends with an error", OnBadRow.SKIP
    )
    explain: bool = option("append the parts of each logit: first order by field, strongest pairs, MLP", False)

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The columns to append, each once."""
        return tuple(dict.fromkeys(self.keep_columns.split(","))) if self.keep_columns else ()


def check_paths(options: ScoringOptions) -> None:
    """Raise UserError unless the model and the rows are there, and the output is not one of them."""
    if not os.path.exists(options.model_path):
        raise UserError(
            f"--model_path={options.model_path}: no such file or folder; export.py --file_format=PACKAGE writes one"
        )
    if options.input_path == STANDARD_STREAM:
        return
    if not os.path.exists(options.input_path):
        raise UserError(f"--input_path={options.input_path}: no such file; name a file of raw rows, or - for stdin")
    if os.path.isdir(options.input_path):
        raise UserError(f"--input_path={options.input_path} is a folder; name a file in it")
    is_file = os.path.isfile(options.input_path)
    if is_file and os.path.realpath(options.output_path) == os.path.realpath(options.input_path):
        raise UserError(f"--output_path={options.output_path} is the file of the rows; name another one")
