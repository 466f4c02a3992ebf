# SPDX-License-Identifier: Apache-2.0
"""Upload the results of a job to an object store while it runs, and restore those of its earlier starts."""

import os
import pathlib
import shutil
import threading
import time
from collections.abc import Sequence

from src.common.errors import UserError
from src.modelarts.object_store import RefusedError, Store
from src.modelarts.transfer import FIRST_DELAY, LONGEST_DELAY, PATIENCE_SECONDS, LocalCopy, retry, upload

NEVER_MODIFIED = (".ckpt", ".safetensors", ".mindir", ".onnx", ".air")  # these files are replaced, not written to again
UNSENT_NAME = ".unsent"  # inside the folder, so that it is deleted with it
NOT_RESULTS = ("*.tmp", "*.partial*", "*.lock", UNSENT_NAME)


class ResultsCopy:
    """The local folder of results, and its copy at an address of a store."""

    def __init__(self, store: Store, url: str, folder: os.PathLike | str):
        self.store, self.url, self.folder = store, url.rstrip("/"), pathlib.Path(folder)
        self._unsent = self.folder / UNSENT_NAME
        # stamp_of() each file that is in the store, by name; None: not known to be the same as here
        self._sent: dict[str, tuple[int, int] | None] = {}

    def restore(self, results: Sequence[str]) -> None:
        """Make the folder hold the `results`, files and folders, that earlier starts of the job have uploaded.

        If the last start was on this host and could not upload everything, the folder stays as it is.
        UserError if the folder holds results of another job that were not uploaded.
        """
        is_unsent = self._unsent.exists()
        if is_unsent and (earlier := self._unsent.read_text(encoding="utf-8")) != self.url:
            raise UserError(
                f"{self.folder} holds results that were not uploaded to {earlier}; move or delete this folder"
            )
        files = retry(lambda: self.store.list(self.url), PATIENCE_SECONDS)
        own = {name: file for name, file in files.items() if any(_is_in(name, result) for result in results)}
        if is_unsent:
            self._sent = dict.fromkeys(own)
            return
        LocalCopy(self.store, self.url, self.folder).update(own)
        self._sent = {name: stamp_of(self.folder / name) for name in own}

    def mark_unsent(self) -> None:
        """Record in the folder that it holds results that are not in the store."""
        self._unsent.write_text(self.url, encoding="utf-8")

    def mark_sent(self) -> None:
        """Record that the store holds all results."""
        self._unsent.unlink(missing_ok=True)

    def upload(self, snapshot: pathlib.Path) -> None:
        """Upload changed files and delete removed ones; `snapshot` is a copy of the folder that nobody changes.

        JSON files name other files and are uploaded last, so the results in the store are consistent at any moment.
        """
        stamps = {path.relative_to(snapshot).as_posix(): stamp_of(path) for path in files_in(snapshot)}
        changed = [name for name, stamp in stamps.items() if self._sent.get(name) != stamp]
        for names in ([name for name in changed if not name.endswith(".json")],
                      [name for name in changed if name.endswith(".json")]):  # fmt: skip
            self._sent.update(dict.fromkeys(names))  # after a failure some of them are in the store
            upload(self.store, snapshot, names, self.url)
            self._sent.update({name: stamps[name] for name in names})
        for name in self._sent.keys() - stamps.keys():
            if self.store.head(f"{self.url}/{name}") is not None:
                self.store.remove(f"{self.url}/{name}")
            del self._sent[name]


class Uploader:
    """Uploads snapshots of the results in the background; retries the newest one until it has arrived."""

    def __init__(self, results: ResultsCopy):
        self._results = results
        self._snapshots = results.folder.with_name(f"{results.folder.name}.outgoing")
        shutil.rmtree(self._snapshots, ignore_errors=True)
        self._snapshot_count = 0
        self._newest = self._uploading = None  # snapshots: the one to upload next, and the one that is being uploaded
        self._error = None  # of the last attempt
        self._changed = threading.Condition()
        results.mark_unsent()
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def is_idle(self) -> bool:
        """Whether every submitted snapshot has been uploaded, or replaced by a newer one that was."""
        with self._changed:
            return self._newest is None

    def submit(self) -> None:
        """Upload the results as they are now, in the background; a failure is only noted."""
        try:
            self._take_snapshot()
        except OSError as error:
            print(f"note: results are not uploaded for now: {error}", flush=True)

    def _take_snapshot(self):
        self._snapshot_count += 1
        snapshot = self._snapshots / str(self._snapshot_count)
        snapshot.mkdir(parents=True)
        for path in files_in(self._results.folder):
            target = snapshot / path.relative_to(self._results.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in NEVER_MODIFIED:
                os.link(path, target)
            else:
                shutil.copy2(path, target)
        with self._changed:
            if self._newest not in (None, self._uploading):
                shutil.rmtree(self._newest, ignore_errors=True)
            self._newest = snapshot
            self._changed.notify_all()

    def close(self, patience: float) -> None:
        """Upload everything, within `patience` seconds; OSError if that fails."""
        deadline = time.monotonic() + patience
        self._take_snapshot()
        with self._changed:
            while self._newest is not None:
                left = deadline - time.monotonic()
                if left <= 0 or isinstance(self._error, RefusedError):
                    raise OSError(f"the results in {self._results.folder} have not been uploaded: {self._error}")
                self._changed.wait(left)
        self._results.mark_sent()
        shutil.rmtree(self._snapshots, ignore_errors=True)
        print(f"the results are at {self._results.url}", flush=True)

    def _run(self):
        delay = FIRST_DELAY
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None)
                self._uploading = self._newest
            error = self._try(self._uploading)
            with self._changed:
                is_newest = self._newest == self._uploading
                if error is None or not is_newest:
                    shutil.rmtree(self._uploading, ignore_errors=True)
                if error is None and is_newest:
                    self._newest = None
                self._uploading, self._error = None, error
                self._changed.notify_all()
                if error is not None:
                    self._changed.wait(delay)  # or until there is a new snapshot
            delay = FIRST_DELAY if error is None else min(2 * delay, LONGEST_DELAY)

    def _try(self, snapshot: pathlib.Path) -> OSError | UserError | None:
        """Upload a snapshot; return the error, or None."""
        try:
            self._results.upload(snapshot)
        except (OSError, UserError) as error:
            if self._error is None:
                print(f"note: results are not uploaded for now, trying again: {error}", flush=True)
            return error
        if self._error is not None:
            print("note: results are uploaded again", flush=True)
        return None


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return the complete files of results in a folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not any(map(path.match, NOT_RESULTS))]


def stamp_of(path: pathlib.Path) -> tuple[int, int]:
    """Return the size and the time of the last change of a file, which tell whether it has changed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _is_in(name: str, result: str) -> bool:
    return name == result or name.startswith(f"{result}/")
