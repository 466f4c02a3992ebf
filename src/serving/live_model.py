# SPDX-License-Identifier: Apache-2.0
"""The model that is served, and its replacement when another package takes the place of its folder."""

import asyncio
import dataclasses
import logging
import os
import pathlib
from collections.abc import Callable

from src.common.errors import UserError
from src.package import ClickModel
from src.package.model import load_package
from src.package.package import GOLDEN_ROWS_NAME, Package
from src.serving.panics import without_panics

SECONDS_BETWEEN_CHECKS = 1.0
EXAMPLE_ROWS = 5
THREADS = 1  # of onnxruntime: the other cores read requests and write responses
VERSION_DIGITS = 12
LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A model.  example_rows: lines of generated rows."""

    model: ClickModel
    example_rows: bytes

    @property
    def version(self) -> str:
        """The first digits of the digest of the package: the same for the same package, others for any other."""
        return self.model.digest[:VERSION_DIGITS]


class LiveModel:
    """The model of a package folder; requests take `current` once, so that they keep their model while it is replaced.

    on_load: gets the version of each package that is loaded, and None for one that is refused.
    """

    def __init__(self, path: str | os.PathLike, on_load: Callable[[str | None], object]):
        """Load the package; UserError if it is refused."""
        self._path, self._on_load = pathlib.Path(path), on_load
        self._seen = _fingerprint(self._path)
        self.current = _load(self._path)
        on_load(self.current.version)

    async def watch(self) -> None:
        """Replace the model whenever the folder has other files, until the task is cancelled.

        They must stay the same between two checks, so that a package is not read while it is copied.  A package that
        is refused leaves a line in the log, and the old one stays.
        """
        previous = self._seen
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_CHECKS)
            found = await asyncio.to_thread(_fingerprint, self._path)
            if found == previous and found != self._seen:
                self._seen = found
                await self._replace()
            previous = found

    async def _replace(self):
        try:
            loaded = await asyncio.to_thread(without_panics, _load, self._path)
        except Exception as error:  # whatever is wrong with the new package, the old one serves
            text = str(error) if isinstance(error, (UserError, OSError)) else repr(error)
            LOGGER.error("refused a new package, version %s stays: %s", self.current.version, " ".join(text.split()))
            self._on_load(None)
        else:
            LOGGER.info("version %s replaces %s", loaded.version, self.current.version)
            self.current = loaded
            self._on_load(loaded.version)


def _load(path):
    model = load_package(Package.load(path), THREADS)
    golden_rows = (path / GOLDEN_ROWS_NAME).read_bytes().split(b"\n")
    return ServedModel(model, b"\n".join([*golden_rows[:EXAMPLE_ROWS], b""]))


def _fingerprint(path):
    """Return what changes when a file of a folder is replaced, written or removed; an empty tuple without a folder."""
    try:
        with os.scandir(path) as entries:
            states = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return ()
    return tuple(sorted((name, state.st_ino, state.st_size, state.st_mtime_ns) for name, state in states))
