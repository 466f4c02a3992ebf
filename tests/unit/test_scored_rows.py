# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.common.errors import UserError
from src.evaluation.streaming_metrics import StreamingMetrics
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import Position
from src.preprocessing.schema import FieldSchema
from src.scoring.chunk_scorer import ScoredChunk
from src.scoring.field_tally import FieldTally
from src.scoring.scored_rows import ScoredRows


def chunk(first_line, has_label, has_weights=False):
    """Return a ScoredChunk of 100 rows and a malformed line."""
    random = np.random.default_rng(first_line)
    bad_lines = BadLines.from_lines(
        np.array([first_line + 1]), np.array([1]), lambda index: b"", FieldSchema.criteo(1, 1)
    )
    return ScoredChunk(
        text=b"",
        lines=101,
        end=Position(0, first_line, first_line, 0),
        fraction=1.0,
        member="test.txt",
        bad_lines=bad_lines,
        tally=FieldTally(100, *random.integers(0, 100, (3, 2))),
        labels=random.integers(0, 2, 100).astype(np.int8) if has_label else None,
        probabilities=random.random(100).astype(np.float32),
        weights=random.random(100).astype(np.float32) if has_weights else None,
    )


def empty(has_label):
    return ScoredRows(FieldTally.empty(2), StreamingMetrics() if has_label else None)


@pytest.mark.parametrize(("has_label", "has_weights"), [(True, False), (False, False), (True, True)])
def test_rows_that_a_journal_has_stored_continue_as_if_never_interrupted(tmp_path, has_label, has_weights):
    expected, rows = empty(has_label), empty(has_label)
    for first_line in (0, 101, 202):
        expected.add(chunk(first_line, has_label, has_weights))
        rows.add(chunk(first_line, has_label, has_weights))
        np.savez(tmp_path / "journal.npz", **rows.to_arrays())
        with np.load(tmp_path / "journal.npz") as arrays:
            rows = ScoredRows.from_arrays(arrays)
    assert (rows.lines, rows.end, rows.tally.rows, rows.has_label) == (303, Position(0, 202, 202, 0), 300, has_label)
    assert rows.bad_lines == expected.bad_lines
    assert rows.bad_lines.count == 3
    assert np.array_equal(rows.tally.missing, expected.tally.missing)
    assert np.array_equal(rows.tally.oov, expected.tally.oov)
    if has_label:
        assert rows.metrics.compute() == expected.metrics.compute()
        assert rows.metrics.weight == expected.metrics.weight
        assert rows.metrics.has_weights == has_weights


@pytest.mark.parametrize("has_weights", [True, False])
def test_weights_in_some_of_the_files_are_refused(has_weights):
    rows = empty(has_label=True)
    rows.add(chunk(0, True, has_weights))
    with pytest.raises(UserError, match="of the files to score, all must have the column of the weight, or none"):
        rows.add(chunk(101, True, not has_weights))
