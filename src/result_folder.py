# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, knows what it was made from, and is made by one run at a time."""

import contextlib
import fcntl
import json
import os
import shutil

from src.dataset_meta import META_NAME, partial_path
from src.errors import UserError

SOURCE_NAME = "source.json"


@contextlib.contextmanager
def only_run(folder):
    """Hold `folder` for this process; UserError if another one holds it.  A killed process holds nothing."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"another run is preprocessing {folder}; wait for it or stop it") from None
    try:
        yield
    finally:
        os.close(descriptor)


def identify(source):
    """Return what tells a raw file from another: its name, size and time of change, a dict for JSON."""
    status = source.stat()
    return {"name": source.name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


class ResultFolder:
    """The folder `path`, made in `partial` beside it: partial/unfinished, then partial/finished, then path."""

    def __init__(self, path, source, settings):
        """source: what the result is made from; settings: what it depends on, dicts for JSON."""
        self.path, self.source, self._settings = path, source, settings
        self.partial = partial_path(path)
        self._unfinished, self._finished = self.partial / "unfinished", self.partial / "finished"

    def is_made(self):
        """Tell whether the result is there, made from this source with these settings."""
        return self._is_ours(self.path)

    def is_waiting(self):
        """Tell whether an earlier run finished the result, but not the move to its place."""
        return self._is_ours(self._finished)

    def check_free(self, overwrite):
        """Raise UserError if another result is in the place and may not be replaced."""
        if self.path.exists() and not overwrite:
            raise UserError(
                f"{self.path} exists already, made from another file or with other settings; "
                "--overwrite=True replaces it"
            )

    def start(self):
        """Return an empty folder to make the result in."""
        shutil.rmtree(self._finished, ignore_errors=True)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        return self._unfinished

    def finish(self, meta):
        """Add the metadata, a DatasetMeta; from now on the result is whole."""
        meta.save(self._unfinished)
        content = {"source": self.source, "settings": self._settings}
        (self._unfinished / SOURCE_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self._unfinished.rename(self._finished)

    def commit(self):
        """Move the finished result to its place; an earlier one goes, and the work folder too."""
        if self.path.exists():
            shutil.rmtree(self.partial / "replaced", ignore_errors=True)
            self.path.rename(self.partial / "replaced")
        self._finished.rename(self.path)
        self.discard()

    def discard(self):
        """Remove the work folder."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def _is_ours(self, folder):
        try:
            content = json.loads((folder / SOURCE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return content == {"source": self.source, "settings": self._settings} and (folder / META_NAME).is_file()
