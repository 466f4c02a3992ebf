# SPDX-License-Identifier: Apache-2.0
"""Score all rows of a source: chunks in parallel threads, their lines in order."""

import itertools
import os
import time
from collections.abc import Iterator

from src.common.errors import UserError
from src.common.progress import Progress
from src.evaluation.streaming_metrics import StreamingMetrics
from src.package.model import ClickModel
from src.package.rows import rows_have_label
from src.preprocessing.chunks import RawChunk
from src.preprocessing.parallel import parallel_map, prefetch
from src.scoring.chunk_scorer import ChunkScorer, schema_to_read
from src.scoring.field_tally import FieldTally
from src.scoring.options import OnBadRow, ScoringOptions
from src.scoring.output_file import Output
from src.scoring.row_source import RowSource
from src.scoring.scored_rows import ScoredRows

WORKERS = (os.cpu_count() or 1) + 1  # threads that score; one more than cores keeps them busy while lines are written
SAVE_SECONDS = 2.0  # between two journals


def score_rows(
    model: ClickModel, source: RowSource, output: Output, options: ScoringOptions, save_seconds: float = SAVE_SECONDS
) -> ScoredRows:
    """Score the rows that an earlier run has not scored; return what is known of all of them.

    Raises UserError for a malformed row if options.on_bad_row is FAIL.
    """
    if output.earlier is not None:
        rows = ScoredRows.from_arrays(output.earlier)
        chunks = source.chunks(schema_to_read(model, options), rows.end)
        scorer = ChunkScorer(model, options, has_label=rows.has_label)
    else:
        has_label, chunks = detect_label(source.chunks(schema_to_read(model, options)))
        scorer = ChunkScorer(model, options, has_label=has_label)
        rows = ScoredRows(FieldTally.empty(len(scorer.counter.names)), StreamingMetrics() if has_label else None)
        output.write(scorer.header())
    progress = Progress("score", 0, done=rows.lines)
    last_save = time.monotonic()
    ahead = prefetch(chunks) if source.is_file else chunks  # a thread that reads a pipe could not be stopped
    for scored in parallel_map(scorer, ahead, WORKERS):
        if scored.bad_lines.count and options.on_bad_row is OnBadRow.FAIL:
            raise UserError(f"{source}: {scored.bad_lines.diagnoses[0].fault}; --on_bad_row=skip leaves such rows out")
        output.write(scored.text)
        rows.add(scored)
        progress.advance(scored.lines, total=round(rows.lines / scored.fraction) if scored.fraction else 0)
        if time.monotonic() - last_save >= save_seconds:
            output.save(rows.to_arrays())
            last_save = time.monotonic()
    progress.close()
    return rows


def detect_label(chunks: Iterator[RawChunk]) -> tuple[bool, Iterator[RawChunk]]:
    """Tell whether rows have a label, from the first chunk; return that and the same chunks."""
    first = next(chunks, None)
    if first is None:
        return False, iter(())
    if isinstance(first.rows, bytes) and not first.names_columns:
        return rows_have_label(first.rows, first.schema), itertools.chain([first], chunks)
    return first.schema.has_label, itertools.chain([first], chunks)
