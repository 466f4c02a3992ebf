# SPDX-License-Identifier: Apache-2.0
"""A folder that appears complete or not at all, records its source, and is made by one run at a time."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

from src.common.errors import UserError
from src.common.files import partial_path, write_json
from src.common.locks import temporary_lock
from src.common.output_paths import Kind, Output, prepared
from src.dataset_meta import META_NAME, DatasetMeta

SOURCE_NAME, LOCK_NAME = "source.json", "preprocess.lock"
LONGEST_INDEX = "valid_input_part.mindrecord00.db"
LONGEST_PATH_BYTES = 500  # the index of a shard is an SQLite file, whose path may have 504


def check_path_length(folder: pathlib.Path) -> None:
    """Raise UserError if the path of a folder is too long for the files of MindRecord in it."""
    index = os.path.abspath(folder / LONGEST_INDEX)
    if len(os.fsencode(index)) > LONGEST_PATH_BYTES:
        raise UserError(
            f"{index} is longer than the {LONGEST_PATH_BYTES} bytes that MindRecord takes; use a shorter path"
        )


class ResultFolder:
    """The folder `path`, made in `partial` next to it: partial/unfinished, then partial/finished, then path."""

    def __init__(self, path: pathlib.Path, source: dict, settings: dict):
        """source: the identity of the raw file; settings: those that the result depends on; both dicts for JSON."""
        self.path, self.source, self._settings = path, source, settings
        self.partial = partial_path(path)
        self._unfinished, self._finished = self.partial / "unfinished", self.partial / "finished"

    def is_committed(self) -> bool:
        """Tell whether the result, of this source and these settings, is at its path."""
        return self._is_this_result(self.path)

    def is_finished(self) -> bool:
        """Tell whether the result is complete, but not yet moved to its path."""
        return self._is_this_result(self._finished)

    def check_target(self, *, overwrite: bool) -> None:
        """Raise UserError if the path holds another result, unless it is to be overwritten, or other files."""
        check_path_length(self._unfinished)
        if os.path.ismount(self.path):
            raise UserError(f"{self.path} is a mount point, which no folder can replace; name a folder in it")
        if self.path.exists() and not self._is_replaceable():
            raise UserError(f"{self.path} holds other files than MindRecord; name another folder with --output_dir")
        if self._is_result() and not overwrite:
            raise UserError(
                f"{self.path} exists already, made from another file or with other settings; "
                "--overwrite=True replaces it"
            )

    @contextlib.contextmanager
    def exclusive(self, flag: str, setting: str) -> Iterator[None]:
        """Keep other runs out for a `with` block; UserError if another run is in it or it cannot be written.

        flag, setting: the flag that names the folder, and the text of the setting with which a message begins.
        """
        hint = "name a folder for the MindRecord files with --output_dir"
        hint += "" if flag != "output_dir" else " elsewhere"
        output = Output(flag, str(self.partial), Kind.FOLDER, setting, hint)
        with prepared([output]), temporary_lock(self.partial / LOCK_NAME) as lock:
            if lock is None:
                raise UserError(
                    f"another run is preprocessing {self.path}; wait for it, stop it, or name another folder"
                )
            yield

    def start(self) -> pathlib.Path:
        """Return an empty folder to make the result in."""
        shutil.rmtree(self._finished, ignore_errors=True)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(parents=True)
        return self._unfinished

    def finish(self, meta: DatasetMeta) -> None:
        """Add the metadata; from now on the result is complete."""
        meta.save(self._unfinished)
        write_json(self._unfinished / SOURCE_NAME, {"source": self.source, "settings": self._settings})
        self._unfinished.rename(self._finished)

    def commit(self) -> None:
        """Move the finished result to its path; an earlier one is removed, and the work folder too."""
        if self.path.exists():
            shutil.rmtree(self.partial / "replaced", ignore_errors=True)
            self.path.rename(self.partial / "replaced")
        self._finished.rename(self.path)
        self.discard()

    def discard(self) -> None:
        """Remove the work folder."""
        shutil.rmtree(self.partial, ignore_errors=True)

    def _is_result(self):
        return (self.path / META_NAME).is_file()

    def _is_replaceable(self):
        return self.path.is_dir() and (self._is_result() or not any(self.path.iterdir()))

    def _is_this_result(self, folder):
        try:
            content = json.loads((folder / SOURCE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return content == {"source": self.source, "settings": self._settings} and (folder / META_NAME).is_file()
