# SPDX-License-Identifier: Apache-2.0
"""The raw rows to score: a file, plain or packed, or stdin."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from src.preprocessing.raw_file import ARCHIVE_SUFFIX, TEXT_NAME, RawChunk, find_member, read_chunks, read_lines
from src.scoring.options import STANDARD_STREAM

MEMBERS = ("test.txt", TEXT_NAME)  # of an archive; Criteo's has both, and the rows without a label are to be scored
CHUNK_BYTES = 8 << 20
STDIN = 0


@dataclasses.dataclass(frozen=True)
class RowSource:
    """Raw rows.  path: None for stdin.  member: the file in an archive, "" elsewhere."""

    path: pathlib.Path | None
    member: str = ""

    @classmethod
    def find(cls, input_path: str) -> "RowSource":
        """Return the source that --input_path names; UserError for an archive without rows."""
        if input_path == STANDARD_STREAM:
            return cls(None)
        path = pathlib.Path(input_path)
        return cls(path, find_member(path, MEMBERS) if path.name.endswith(ARCHIVE_SUFFIX) else "")

    def __str__(self):
        if self.path is None:
            return "stdin"
        return f"{self.member} in {self.path}" if self.member else str(self.path)

    @property
    def is_file(self) -> bool:
        """Whether the rows can be read again."""
        return self.path is not None and self.path.is_file()

    def identity(self) -> dict | None:
        """Return what tells the rows apart from others, a dict for JSON; None if they can be read only once."""
        if self.path is None or not self.is_file:
            return None
        status = self.path.stat()
        return {"path": os.path.realpath(self.path), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}

    def chunks(self, skip_bytes: int = 0) -> Iterator[RawChunk]:
        """Yield the rows as chunks of complete lines.  skip_bytes: of the text, to leave out at its beginning."""
        if self.path is not None and self.is_file:
            yield from read_chunks(self.path, CHUNK_BYTES, skip_bytes, self.member)
            return
        with open(STDIN if self.path is None else self.path, "rb", closefd=self.path is not None) as stream:
            for data in read_lines(stream, CHUNK_BYTES):
                yield RawChunk(data, 0.0)
