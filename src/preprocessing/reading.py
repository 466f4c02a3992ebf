# SPDX-License-Identifier: Apache-2.0
"""The first stage: raw text to the spill, and the statistics of its rows."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.common.progress import Progress
from src.dataset_meta import SPLITS
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.chunks import Position, RawChunk, read_source
from src.preprocessing.frame_rows import parse_frame
from src.preprocessing.lists import longest_list
from src.preprocessing.parallel import parallel_map, prefetch
from src.preprocessing.raw_rows import ParsedChunk, parse_chunk
from src.preprocessing.schema import KEY, LABEL, FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits

WORKERS = 3  # threads that parse; one more than two cores keeps both busy
# Reading stops early at this multiple of the permitted malformed lines: the number of lines is an estimate then.
HOPELESS_MULTIPLE = 4


@dataclasses.dataclass(frozen=True)
class ChunkStats:
    """The statistics of a chunk.

    lines: of all its rows, well-formed or malformed.  end: its end.  fraction: of the source, read with it.
    labels: for each split the number of rows of label 0 and of label 1.
    largest_id: the largest category id; -1 unless the categories already are ids.
    left_out: the number of well-formed rows that are left out, as the splits have it.
    longest_lists: of each multi-valued category, by name, the largest number of values in a row of the training split.
    """

    lines: int
    end: Position
    fraction: float
    bad_lines: BadLines
    labels: dict[str, list[int]]
    largest_id: int
    left_out: int = 0
    longest_lists: dict[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict:
        """Return the content as a dict for JSON."""
        return {**vars(self), "end": list(dataclasses.astuple(self.end)), "bad_lines": self.bad_lines.to_dict()}

    @classmethod
    def from_dict(cls, content: dict) -> "ChunkStats":
        """Return the ChunkStats of which to_dict made `content`."""
        bad_lines, end = BadLines.from_dict(content["bad_lines"]), Position(*content["end"])
        return cls(**{**content, "bad_lines": bad_lines, "end": end})


class RowSummary:
    """The sum of the ChunkStats of the rows that have been read.

    end: of the last chunk.  split_labels: for each split the number of rows by label.
    longest_lists: as ChunkStats has them, without those of 0.
    train_rows: of each chunk in the spill.
    is_complete: whether all rows have been read.
    """

    def __init__(self):
        self.bad_lines = BadLines()
        self.lines = 0
        self.end = Position()
        self.largest_id = -1
        self.left_out = 0
        self.longest_lists = Counter[str]()
        self.is_complete = False
        self.split_labels = {split: Counter() for split in SPLITS}
        self.train_rows = []

    def add(self, stats: ChunkStats) -> None:
        """Take in the next chunk."""
        self.lines += stats.lines
        self.end = stats.end
        self.bad_lines.merge(stats.bad_lines)
        self.largest_id = max(self.largest_id, stats.largest_id)
        self.left_out += stats.left_out
        self.longest_lists |= Counter(stats.longest_lists)  # the larger one of each
        self.train_rows.append(sum(stats.labels["train"]))
        for split, counts in stats.labels.items():
            self.split_labels[split].update(dict(enumerate(counts)))

    def to_stats(self) -> ChunkStats:
        """Return the sum as the ChunkStats of a part of a file, with a fraction of 1."""
        labels = {split: [counts[0], counts[1]] for split, counts in self.split_labels.items()}
        return ChunkStats(
            self.lines, self.end, 1.0, self.bad_lines, labels, self.largest_id, self.left_out, dict(self.longest_lists)
        )

    @property
    def good_lines(self) -> int:
        """The rows that are used."""
        return self.lines - self.bad_lines.count - self.left_out

    def count(self, split: str) -> int:
        """Return the number of rows of a split."""
        return self.split_labels[split].total()

    def describe_bad_lines(self, negative_label: int) -> str:
        """Return in one line the faults of the malformed lines, of which there are some."""
        good_labels = sorted(sum(self.split_labels.values(), Counter()))  # a sum of Counters leaves out a count of 0
        return self.bad_lines.describe(self.lines, good_labels, negative_label, is_complete=self.is_complete)


def read_rows(
    source: Source,
    schema: FieldSchema,
    splits: KeySplits,
    spill: Spill,
    chunk_bytes: int,
    max_bad_line_ratio: float = 1.0,
) -> RowSummary:
    """Parse the chunks that are not yet in the Spill; return the RowSummary.

    Raises UserError as soon as there are many more malformed lines than max_bad_line_ratio allows for the complete
    file, and at its end if it is empty or there are more of them.
    """
    rows = RowSummary()
    for stats in spill.stats:
        rows.add(ChunkStats.from_dict(stats))
    progress = Progress("read", 0, done=rows.lines)
    chunks = prefetch(read_source(source, schema, chunk_bytes, rows.end))
    for frame, stats in parse_chunks(chunks, splits):
        spill.add(frame, stats.to_dict())
        rows.add(stats)
        expected_lines = round(rows.lines / stats.fraction)
        progress.advance(stats.lines, total=expected_lines)
        if stats.fraction < 1:
            check_is_hopeful(source, rows, schema, max_bad_line_ratio, expected_lines)
    progress.close()
    rows.is_complete = True
    check_lines(source, rows, schema, max_bad_line_ratio)
    return rows


def parse_chunks(chunks: Iterable[RawChunk], splits: KeySplits) -> Iterator[tuple[pl.DataFrame, ChunkStats]]:
    """Yield what parse_rows returns for each chunk."""
    return parallel_map(lambda chunk: parse_rows(chunk, splits), chunks, WORKERS)


def parse_rows(chunk: RawChunk, splits: KeySplits) -> tuple[pl.DataFrame, ChunkStats]:
    """Return the well-formed rows of a chunk, a frame sorted by KEY, and the ChunkStats."""
    parsed = parse_raw_chunk(chunk)
    frame = splits.with_keys(parsed.frame, chunk.file_split)
    labels = frame[LABEL].to_numpy()
    schema = chunk.schema
    ids = frame.select(schema.category_names if schema.categories_are_ids and frame.height else [])
    rows = splits.split(frame[KEY].to_numpy())
    stats = ChunkStats(
        lines=parsed.line_count,
        end=chunk.end,
        fraction=chunk.fraction,
        bad_lines=parsed.bad_lines,
        labels={split: np.bincount(labels[part], minlength=2).tolist() for split, part in rows.items()},
        largest_id=max(ids.max().row(0), default=-1),
        left_out=parsed.frame.height - frame.height,
        longest_lists={
            name: longest_list(frame[name][rows["train"]], separator) for name, separator in schema.separators.items()
        },
    )
    return frame, stats


def parse_raw_chunk(chunk: RawChunk) -> ParsedChunk:
    """Parse the rows of a chunk."""
    first_row = chunk.start.rows + chunk.start.lines
    parse = parse_frame if isinstance(chunk.rows, pl.DataFrame) else parse_chunk
    return parse(chunk.rows, first_row, chunk.schema, *chunk.place)


def check_is_hopeful(
    source: Source, rows: RowSummary, schema: FieldSchema, max_bad_line_ratio: float, expected_lines: int
) -> None:
    """Raise UserError if a part of a file has so many malformed lines that the rest is not worth reading."""
    if rows.bad_lines.count > HOPELESS_MULTIPLE * max_bad_line_ratio * expected_lines:
        check_lines(source, rows, schema, max_bad_line_ratio)


def check_lines(source: Source, rows: RowSummary, schema: FieldSchema, max_bad_line_ratio: float) -> None:
    """Raise UserError if the file is empty or has too many malformed lines."""
    if rows.lines == 0:
        raise UserError(f"{source} is empty")
    allowed = int(max_bad_line_ratio * rows.lines)
    if rows.bad_lines.count > allowed:
        faults = rows.describe_bad_lines(schema.negative_label)
        raise UserError(f"{source}: {faults}; --max_bad_line_ratio={max_bad_line_ratio} allows {allowed}")
