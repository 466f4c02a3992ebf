# SPDX-License-Identifier: Apache-2.0
"""From the text of raw rows to the lines of the output, one chunk at a time."""

import dataclasses

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.common.scores import DECIMALS, PROBABILITY, ROW
from src.package.model import ClickModel
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.raw_columns import MISSING, to_texts
from src.preprocessing.raw_file import RawChunk
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import LABEL, LINE_NUMBER, FieldSchema
from src.scoring.field_tally import FieldCounter, FieldTally
from src.scoring.options import OnBadRow, ScoringOptions


@dataclasses.dataclass(frozen=True)
class NumberedChunk:
    """A chunk of text.  first_line: number, from 0, of its first line."""

    chunk: RawChunk
    first_line: int


@dataclasses.dataclass(frozen=True)
class ScoredChunk:
    """The scores of a chunk.

    text: lines of the output.  lines, bytes: of the input, whose fraction `fraction` has been read with it.
    labels: int8 [n], of the well-formed rows, None if they have none.  probabilities: float32 [n].
    """

    text: bytes
    lines: int
    bytes: int
    fraction: float
    bad_lines: BadLines
    tally: FieldTally
    labels: np.ndarray | None
    probabilities: np.ndarray


class ChunkScorer:
    """Scores chunks, several at once if threads call it.  has_label: whether the rows begin with a label."""

    def __init__(self, model: ClickModel, options: ScoringOptions, *, has_label: bool):
        self._model, self._options = model, options
        self.schema = dataclasses.replace(model.encoder.schema, has_label=has_label)
        self.counter = FieldCounter(model.encoder)
        check_kept_names(options.kept_names, self.schema)

    def header(self) -> bytes:
        """Return the first line of the output."""
        no_rows = parse_chunk(b"", 0, self.schema).frame
        return self._table(no_rows, *self._model.encode(no_rows), np.empty(0, np.float32)).write_csv().encode()

    def __call__(self, numbered: NumberedChunk) -> ScoredChunk:
        parsed = parse_chunk(numbered.chunk.data, numbered.first_line, self.schema)
        sparse_ids, dense_values = self._model.encode(parsed.frame)
        probabilities = self._model.network(sparse_ids, dense_values)
        table = self._table(parsed.frame, sparse_ids, dense_values, probabilities)
        if parsed.bad_lines.count and self._options.on_bad_row is OnBadRow.EMPTY:
            table = _with_all_rows(table, numbered.first_line, parsed.line_count)
        return ScoredChunk(
            text=table.write_csv(include_header=False, float_precision=DECIMALS).encode(),
            lines=parsed.line_count,
            bytes=len(numbered.chunk.data),
            fraction=numbered.chunk.fraction,
            bad_lines=parsed.bad_lines,
            tally=self.counter.count(parsed.frame, sparse_ids),
            labels=parsed.frame[LABEL].to_numpy() if self.schema.has_label else None,
            probabilities=probabilities,
        )

    def _table(self, frame, sparse_ids, dense_values, probabilities):
        """Return the output of well-formed rows as a frame; floats that are no probability are text with all digits."""
        columns = [frame[LINE_NUMBER].alias(ROW) + 1, pl.Series(PROBABILITY, probabilities)]
        columns += [_canonical(frame[name]) for name in self._options.kept_names]
        if self._options.explain:
            explanation = self._model.explainer(sparse_ids, dense_values).to_frame()
            columns += explanation.with_columns(pl.col(pl.Float64).cast(pl.String)).get_columns()
        return pl.DataFrame(columns)


def check_kept_names(names: tuple[str, ...], schema: FieldSchema) -> None:
    """Raise UserError unless all of these are columns of the rows."""
    known = dataclasses.replace(schema, has_label=True).column_names
    for name in names:
        if name not in known:
            raise UserError(
                f"--keep_columns: {name!r} is not one of the columns, {known[0]}, {known[1]} to {known[-1]}"
            )
        if name == LABEL and not schema.has_label:
            raise UserError("--keep_columns: the rows have no label; leave it out")


def _canonical(column: pl.Series) -> pl.Series:
    """Return a raw column with nulls for missing values, and codes as text."""
    present = column.set(column == MISSING[column.dtype], None) if column.dtype in MISSING else column
    return to_texts(column).set(present.is_null(), None) if column.dtype == pl.UInt32 else present


def _with_all_rows(table, first_line, line_count):
    """Return a table with a row for each line; those that it lacks have nothing but their number."""
    rows = pl.Series(ROW, np.arange(first_line + 1, first_line + line_count + 1, dtype=np.uint64))
    return pl.DataFrame([rows]).join(table, on=ROW, how="left", maintain_order="left")
