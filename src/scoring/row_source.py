# SPDX-License-Identifier: Apache-2.0
"""The raw rows to score: files of any form that preprocessing reads, or a stream of text."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Optional

from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.streams import TEXT_NAME
from src.scoring.options import STANDARD_STREAM

if TYPE_CHECKING:
    from src.preprocessing.chunks import Position, RawChunk

MEMBERS = ("test.txt", TEXT_NAME)  # of an archive; Criteo's has both, and the rows without a label are to be scored
CHUNK_BYTES = 12 << 20  # smaller ones make threads wait for each other's Python
STDIN = 0


@dataclasses.dataclass(frozen=True)
class RowSource:
    """Raw rows.  source: their files.  stream: the path of a pipe or the like; both are None for stdin."""

    source: Source | None = None
    stream: pathlib.Path | None = None

    @classmethod
    def find(cls, input_path: str) -> "RowSource":
        """Return the source that --input_path names; UserError if there is none."""
        if input_path == STANDARD_STREAM:
            return cls()
        path = pathlib.Path(input_path)
        if path.exists() and not path.is_file() and not path.is_dir():
            return cls(stream=path)
        return cls(Source.find(input_path, "input_path", MEMBERS))

    def __str__(self):
        return str(self.source or self.stream or "stdin")

    @property
    def is_file(self) -> bool:
        """Whether the rows can be read again."""
        return self.source is not None

    def identity(self) -> dict | None:
        """Return what tells the rows apart from others, a dict for JSON; None if they can be read only once."""
        if self.source is None:
            return None
        return {"paths": [os.path.realpath(file) for file in self.source.files], **self.source.identity()}

    def chunks(self, schema: FieldSchema, start: Optional["Position"] = None) -> Iterator["RawChunk"]:
        """Yield the rows from a position on as chunks; of a stream, all."""
        from src.preprocessing import chunks  # here, as it imports polars, which takes long

        if self.source is not None:
            yield from chunks.read_source(self.source, schema, CHUNK_BYTES, start or chunks.START)
            return
        with open(STDIN if self.stream is None else self.stream, "rb", closefd=self.stream is not None) as stream:
            yield from chunks.read_stream(stream, str(self), schema, CHUNK_BYTES)
