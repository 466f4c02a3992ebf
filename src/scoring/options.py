# SPDX-License-Identifier: Apache-2.0
"""The flags of predict.py."""

import dataclasses
import enum

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

    model_path: str = option(
        "model package, .ckpt file, or folder of checkpoints for its best one; A,B,C: the mean of logits of checkpoints"
    )
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
