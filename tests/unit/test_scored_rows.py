# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.evaluation.streaming_metrics import StreamingMetrics
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.schema import FieldSchema
from src.scoring.chunk_scorer import ScoredChunk
from src.scoring.field_tally import FieldTally
from src.scoring.scored_rows import ScoredRows


def chunk(first_line, has_label):
    """Return a ScoredChunk of 100 rows and a malformed line."""
    random = np.random.default_rng(first_line)
    bad_lines = BadLines.from_lines(np.array([first_line + 1]), np.array([1]), lambda index: b"", FieldSchema(1, 1))
    return ScoredChunk(
        text=b"",
        lines=101,
        bytes=1000,
        fraction=1.0,
        bad_lines=bad_lines,
        tally=FieldTally(100, random.integers(0, 100, 2), random.integers(0, 100, 2)),
        labels=random.integers(0, 2, 100).astype(np.int8) if has_label else None,
        probabilities=random.random(100).astype(np.float32),
    )


def empty(has_label):
    return ScoredRows(FieldTally.empty(2), StreamingMetrics() if has_label else None)


@pytest.mark.parametrize("has_label", [True, False])
def test_rows_that_a_journal_has_stored_continue_as_if_never_interrupted(tmp_path, has_label):
    expected, rows = empty(has_label), empty(has_label)
    for first_line in (0, 101, 202):
        expected.add(chunk(first_line, has_label))
        rows.add(chunk(first_line, has_label))
        np.savez(tmp_path / "journal.npz", **rows.to_arrays())
        with np.load(tmp_path / "journal.npz") as arrays:
            rows = ScoredRows.from_arrays(arrays)
    assert (rows.lines, rows.bytes, rows.tally.rows, rows.has_label) == (303, 3000, 300, has_label)
    assert rows.bad_lines == expected.bad_lines
    assert rows.bad_lines.count == 3
    assert np.array_equal(rows.tally.missing, expected.tally.missing)
    assert np.array_equal(rows.tally.oov, expected.tally.oov)
    if has_label:
        assert rows.metrics.compute() == expected.metrics.compute()
