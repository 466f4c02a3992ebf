# SPDX-License-Identifier: Apache-2.0
"""What is known of the rows that have been scored; a journal holds it, so that a killed run resumes."""

import dataclasses
import json

import numpy as np

from src.evaluation.streaming_metrics import StreamingMetrics
from src.preprocessing.bad_lines import BadLines
from src.scoring.chunk_scorer import ScoredChunk
from src.scoring.field_tally import FieldTally
from src.scoring.output_file import Arrays

METRICS_PREFIX = "metrics."


@dataclasses.dataclass
class ScoredRows:
    """The sum of all ScoredChunks so far.

    lines, bytes: of the input, well-formed or malformed.  metrics: None if the rows have no label.
    """

    tally: FieldTally
    metrics: StreamingMetrics | None
    bad_lines: BadLines = dataclasses.field(default_factory=BadLines)
    lines: int = 0
    bytes: int = 0

    @property
    def has_label(self) -> bool:
        return self.metrics is not None

    def add(self, scored: ScoredChunk) -> None:
        """Take in the next chunk."""
        self.lines += scored.lines
        self.bytes += scored.bytes
        self.bad_lines.merge(scored.bad_lines)
        self.tally.add(scored.tally)
        if self.metrics is not None and scored.labels is not None:
            self.metrics.add(scored.labels, scored.probabilities)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the content as arrays, for a journal."""
        numbers = {"lines": self.lines, "bytes": self.bytes, "rows": self.tally.rows}
        text = json.dumps({**numbers, "bad_lines": self.bad_lines.to_dict(), "has_label": self.has_label})
        metrics = {} if self.metrics is None else self.metrics.state()
        fields = {"json": np.frombuffer(text.encode(), np.uint8), "missing": self.tally.missing, "oov": self.tally.oov}
        return {**fields, **{f"{METRICS_PREFIX}{name}": array for name, array in metrics.items()}}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ScoredRows":
        """Return the ScoredRows of which to_arrays made `arrays`."""
        content = json.loads(arrays["json"].tobytes())
        prefix = METRICS_PREFIX
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        return cls(
            FieldTally(content["rows"], arrays["missing"], arrays["oov"]),
            StreamingMetrics.from_state(state) if content["has_label"] else None,
            BadLines.from_dict(content["bad_lines"]),
            content["lines"],
            content["bytes"],
        )
