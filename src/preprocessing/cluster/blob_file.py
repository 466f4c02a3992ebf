# SPDX-License-Identifier: Apache-2.0
"""Many small frames in one file, each of which is read alone."""

import io
import json
import pathlib
from collections.abc import Iterable

import polars as pl

from src.preprocessing.cluster.storage import Storage

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
    """The frames in a file of the storage that write_frames has written."""

    def __init__(self, storage: Storage, name: str):
        self._storage = storage
        length = int.from_bytes(storage.read(name, -LENGTH_BYTES), "little")
        index = storage.read(name, -LENGTH_BYTES - length)[:length]
        self._spans = {key: (name, start, start + size) for key, (start, size) in json.loads(index).items()}

    def read(self, names: Iterable[str]) -> dict[str, pl.DataFrame]:
        """Return the frames of these names, by name; those that the file does not have are left out."""
        found = [name for name in names if name in self._spans]
        contents = self._storage.read_spans([self._spans[name] for name in found])
        return {name: pl.read_ipc(content) for name, content in zip(found, contents)}
