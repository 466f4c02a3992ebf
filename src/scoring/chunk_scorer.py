# SPDX-License-Identifier: Apache-2.0
"""From the text of raw rows to the lines of the output, one chunk at a time."""

import dataclasses
import pathlib

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.common.scores import DECIMALS, PROBABILITY, ROW
from src.package.model import ClickModel
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import Position, RawChunk
from src.preprocessing.raw_columns import MISSING, to_texts
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.reading import parse_raw_chunk
from src.preprocessing.schema import LABEL, LINE_NUMBER, WEIGHT, FieldSchema
from src.scoring.field_tally import FieldCounter, FieldTally
from src.scoring.options import OnBadRow, ScoringOptions


@dataclasses.dataclass(frozen=True)
class ScoredChunk:
    """The scores of a chunk.

    text: lines of the output.  lines: of the input.  end: of the chunk.  fraction: of the input, read with it.
    member: the name of the text if it is in an archive.
    labels: int8 [n], of the well-formed rows, None if they have none.  probabilities: float32 [n].  weights: float32
    [n], None if the rows have no labels or no weights.
    """

    text: bytes
    lines: int
    end: Position
    fraction: float
    member: str
    bad_lines: BadLines
    tally: FieldTally
    labels: np.ndarray | None
    probabilities: np.ndarray
    weights: np.ndarray | None = None


class ChunkScorer:
    """Scores chunks, several at once if threads call it.  has_label: whether the rows have a label."""

    def __init__(self, model: ClickModel, options: ScoringOptions, *, has_label: bool):
        self._model, self._options = model, options
        self.schema = dataclasses.replace(schema_to_read(model, options), has_label=has_label)
        self.counter = FieldCounter(model.encoder)

    def header(self) -> bytes:
        """Return the first line of the output."""
        columns = (self.schema.label_name, *self.schema.value_names, *self.schema.kept_names)
        no_rows = parse_chunk(b"", 0, dataclasses.replace(self.schema, file_columns=columns)).frame
        return self._table(no_rows, *self._model.encode(no_rows), np.empty(0, np.float32)).write_csv().encode()

    def __call__(self, chunk: RawChunk) -> ScoredChunk:
        """Score a chunk; UserError if only some files have the column of the label."""
        if not chunk.names_columns:
            schema = dataclasses.replace(chunk.schema, has_label=self.schema.has_label)
            chunk = dataclasses.replace(chunk, schema=schema)
        elif chunk.schema.has_label != self.schema.has_label:
            raise UserError(f"{chunk.place[0]}: of the files to score, all must have the column of the label, or none")
        check_kept_names(self._options.kept_names, chunk.schema)
        parsed = parse_raw_chunk(chunk)
        sparse_ids, dense_values = self._model.encode(parsed.frame)
        probabilities = self._model.network(sparse_ids, dense_values)
        table = self._table(parsed.frame, sparse_ids, dense_values, probabilities)
        if parsed.bad_lines.count and self._options.on_bad_row is OnBadRow.EMPTY:
            table = _with_all_rows(table, chunk.start.rows + chunk.start.lines, parsed.line_count)
        return ScoredChunk(
            text=table.write_csv(include_header=False, float_precision=DECIMALS).encode(),
            lines=parsed.line_count,
            end=chunk.end,
            fraction=chunk.fraction,
            member=pathlib.PurePosixPath(chunk.member).name,
            bad_lines=parsed.bad_lines,
            tally=self.counter.count(parsed.frame, sparse_ids),
            labels=parsed.frame[LABEL].to_numpy() if self.schema.has_label else None,
            probabilities=probabilities,
            weights=parsed.frame[WEIGHT].to_numpy() if WEIGHT in parsed.frame.columns else None,
        )

    def _table(self, frame, sparse_ids, dense_values, probabilities):
        """Return the output of well-formed rows as a frame; floats that are no probability are text with all digits."""
        columns = [frame[LINE_NUMBER].alias(ROW) + 1, pl.Series(PROBABILITY, probabilities)]
        label = self.schema.label_name
        columns += [
            _canonical(frame[LABEL if name == label else name]).alias(name) for name in self._options.kept_names
        ]
        if self._options.explain:
            explanation = self._model.explainer(sparse_ids, dense_values).to_frame()
            columns += explanation.with_columns(pl.col(pl.Float64).cast(pl.String)).get_columns()
        return pl.DataFrame(columns)


def schema_to_read(model: ClickModel, options: ScoringOptions) -> FieldSchema:
    """Return the schema of the rows to score, with the columns to keep that the model does not use."""
    schema = model.encoder.schema
    known = {schema.label_name, *schema.value_names}
    return dataclasses.replace(schema, kept_names=tuple(name for name in options.kept_names if name not in known))


def check_kept_names(names: tuple[str, ...], schema: FieldSchema) -> None:
    """Raise UserError unless all of these are columns of the rows.  schema: of rows whose columns are known."""
    known = schema.label_name, *schema.value_names
    for name in names:
        if name not in (*known, *schema.column_names):
            raise UserError(
                f"--keep_columns: {name!r} is not one of the columns, {known[0]}, {known[1]} to {known[-1]}"
            )
        if name == schema.label_name and not schema.has_label:
            raise UserError("--keep_columns: the rows have no label; leave it out")


def _canonical(column: pl.Series) -> pl.Series:
    """Return a raw column with nulls for missing values, and codes as text."""
    present = column.set(column == MISSING[column.dtype], None) if column.dtype in MISSING else column
    return to_texts(column).set(present.is_null(), None) if column.dtype == pl.UInt32 else present


def _with_all_rows(table, first_line, line_count):
    """Return a table with a row for each line; those that it lacks have nothing but their number."""
    rows = pl.Series(ROW, np.arange(first_line + 1, first_line + line_count + 1, dtype=np.uint64))
    return pl.DataFrame([rows]).join(table, on=ROW, how="left", maintain_order="left")
