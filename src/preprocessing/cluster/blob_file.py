# SPDX-License-Identifier: Apache-2.0
"""Many small frames in one file, each of which is read alone."""

import io
import json
import os
import pathlib
from collections.abc import Iterable

import polars as pl

LENGTH_BYTES = 8  # of the last number in the file, the length of its index


def write_frames(path: pathlib.Path, frames: Iterable[tuple[str, pl.DataFrame]]) -> None:
    """Write frames, each with a name of its own."""
    spans = {}
    with open(path, "wb") as file:
        for name, frame in frames:
            start = file.tell()
            buffer = io.BytesIO()
            frame.write_ipc(buffer)
            file.write(buffer.getbuffer())
            spans[name] = [start, file.tell() - start]
        index = json.dumps(spans).encode()
        file.write(index)
        file.write(len(index).to_bytes(LENGTH_BYTES, "little"))


class FrameFile:
    """The frames in a file that write_frames has written."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        with open(path, "rb") as file:
            end = file.seek(-LENGTH_BYTES, os.SEEK_END)
            length = int.from_bytes(file.read(), "little")
            file.seek(end - length)
            self._spans = json.loads(file.read(length))

    def read(self, names: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Return the frames of these names, by name; those that the file does not have are left out."""
        frames = {}
        with open(self._path, "rb") as file:
            for name in names:
                if name in self._spans:
                    start, length = self._spans[name]
                    file.seek(start)
                    frames[name] = pl.read_ipc(file.read(length))
        return frames
