# SPDX-License-Identifier: Apache-2.0
"""What is known of the rows that have been scored; a journal holds it, so that a killed run resumes."""

import dataclasses
import json

import numpy as np

from src.common.errors import UserError
from src.evaluation.streaming_metrics import StreamingMetrics
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import START, Position
from src.scoring.chunk_scorer import ScoredChunk
from src.scoring.field_tally import FieldTally
from src.scoring.output_file import Arrays

METRICS_PREFIX = "metrics."


@dataclasses.dataclass
class ScoredRows:
    """The sum of all ScoredChunks so far.

    lines: of the input, well-formed or malformed.  end: their end in the source.
    metrics: None if the rows have no label.  members: the names of the texts that were in archives.
    """

    tally: FieldTally
    metrics: StreamingMetrics | None
    bad_lines: BadLines = dataclasses.field(default_factory=BadLines)
    lines: int = 0
    end: Position = START
    members: list[str] = dataclasses.field(default_factory=list)

    @property
    def has_label(self) -> bool:
        return self.metrics is not None

    def add(self, scored: ScoredChunk) -> None:
        """Take in the next chunk; UserError if its rows have weights and earlier ones have none, or the reverse."""
        self.lines += scored.lines
        self.end = scored.end
        self.bad_lines.merge(scored.bad_lines)
        self.tally.add(scored.tally)
        if scored.member and scored.member not in self.members:
            self.members.append(scored.member)
        if self.metrics is not None and scored.labels is not None:
            if self.metrics.rows and self.metrics.has_weights != (scored.weights is not None):
                raise UserError("of the files to score, all must have the column of the weight, or none")
            self.metrics.add(scored.labels, scored.probabilities, scored.weights)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the content as arrays, for a journal."""
        numbers = {"lines": self.lines, "end": dataclasses.astuple(self.end), "rows": self.tally.rows}
        text = json.dumps(
            {**numbers, "members": self.members, "bad_lines": self.bad_lines.to_dict(), "has_label": self.has_label}
        )
        metrics = {} if self.metrics is None else self.metrics.state()
        fields = {"json": np.frombuffer(text.encode(), np.uint8), "missing": self.tally.missing}
        fields |= {"values": self.tally.values, "oov": self.tally.oov}
        return {**fields, **{f"{METRICS_PREFIX}{name}": array for name, array in metrics.items()}}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "ScoredRows":
        """Return the ScoredRows of which to_arrays made `arrays`."""
        content = json.loads(arrays["json"].tobytes())
        prefix = METRICS_PREFIX
        state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        return cls(
            FieldTally(content["rows"], arrays["missing"], arrays["values"], arrays["oov"]),
            StreamingMetrics.from_state(state) if content["has_label"] else None,
            BadLines.from_dict(content["bad_lines"]),
            content["lines"],
            Position(*content["end"]),
            content["members"],
        )
