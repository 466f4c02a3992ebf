# SPDX-License-Identifier: Apache-2.0
"""A folder that appears whole or not at all, knows what it was made from, and is made by one run at a time."""

import contextlib
import json
import os
import shutil

from src.common.errors import UserError
from src.common.files import partial_path
from src.common.locks import temporary_lock
from src.common.output_paths import Kind, Output, prepared
from src.dataset_meta import META_NAME

SOURCE_NAME, LOCK_NAME = "source.json", "preprocess.lock"
LONGEST_INDEX = "valid_input_part.mindrecord00.db"
LONGEST_PATH = 500  # bytes; the index of a shard is an SQLite file, whose path may have 504


@contextlib.contextmanager
def exclusive_run(folder, flag, setting):
    """Hold a ResultFolder for a `with` block; UserError if another run holds it or it cannot be written.

    flag, setting: the flag that says where the folder is, and the text of the setting with which a message begins.
    """
    hint = "name a folder for the MindRecord files with --output_dir" + ("" if flag != "output_dir" else " elsewhere")
    output = Output(flag, str(folder.partial), Kind.FOLDER, setting, hint)
    with prepared([output]), temporary_lock(folder.partial / LOCK_NAME) as lock:
        if lock is None:
            raise UserError(f"another run is preprocessing {folder.path}; wait for it, stop it, or name another folder")
        yield


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
        """Raise UserError if another result is in the place and may not be replaced, or what is there is no result."""
        index = os.path.abspath(self._unfinished / LONGEST_INDEX)
        if len(os.fsencode(index)) > LONGEST_PATH:
            raise UserError(
                f"{index} is longer than the {LONGEST_PATH} bytes that MindRecord takes; use a shorter path"
            )
        if os.path.ismount(self.path):
            raise UserError(f"{self.path} is a mount point, which no folder can replace; name a folder in it")
        if self.path.exists() and not self._is_replaceable():
            raise UserError(f"{self.path} holds other files than MindRecord; name another folder with --output_dir")
        if self._is_result() and not overwrite:
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

    def _is_result(self):
        return (self.path / META_NAME).is_file()

    def _is_replaceable(self):
        return self.path.is_dir() and (self._is_result() or not any(self.path.iterdir()))

    def _is_ours(self, folder):
        try:
            content = json.loads((folder / SOURCE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return content == {"source": self.source, "settings": self._settings} and (folder / META_NAME).is_file()
