# SPDX-License-Identifier: Apache-2.0
"""Send the results of a job to an object store while it runs, and bring back those of its earlier starts."""

import os
import pathlib
import shutil
import threading
import time

from src.common.errors import UserError
from src.modelarts.object_store import RefusedError
from src.modelarts.transfer import FIRST_DELAY, LONGEST_DELAY, PATIENCE_SECONDS, LocalCopy, retry, send

NEVER_CHANGED = (".ckpt", ".mindir", ".onnx", ".air")  # these files are replaced, not written again
UNSENT_NAME = ".unsent"  # in the folder, so that it goes with it
NOT_RESULTS = ("*.tmp", "*.partial*", "*.lock", UNSENT_NAME)


class ResultsCopy:
    """The folder of results on this machine, and its copy at an address of a store."""

    def __init__(self, store, url, folder):
        self.store, self.url, self.folder = store, url.rstrip("/"), pathlib.Path(folder)
        self._unsent = self.folder / UNSENT_NAME
        self.sent = {}  # what is at the address as it is here: names and what stamp_of() says

    def restore(self, results):
        """Make the folder hold what earlier starts of the job have sent of `results`, names of files and folders.

        If the last one was on this machine and could not send everything, the folder stays as it is.
        """
        is_unsent = self._unsent.exists()
        if is_unsent and (earlier := self._unsent.read_text(encoding="utf-8")) != self.url:
            raise UserError(f"{self.folder} holds results that were not sent to {earlier}; move or delete this folder")
        files = retry(lambda: self.store.list(self.url), PATIENCE_SECONDS)
        ours = {name: file for name, file in files.items() if any(_is_in(name, result) for result in results)}
        if is_unsent:
            self.sent = dict.fromkeys(ours)  # nobody knows which of them are as they are here
            return
        LocalCopy(self.store, self.url, self.folder).update(ours)
        self.sent = {name: stamp_of(self.folder / name) for name in ours}

    def mark(self):
        """Note that there is something here that is not at the address."""
        self._unsent.write_text(self.url, encoding="utf-8")

    def unmark(self):
        """Take that back."""
        self._unsent.unlink(missing_ok=True)

    def send(self, snapshot):
        """Send what has changed and remove what is gone; `snapshot` is a folder that nobody changes.

        Whoever reads at the address meanwhile finds results that belong together: JSON files name others and go last.
        """
        stamps = {path.relative_to(snapshot).as_posix(): stamp_of(path) for path in files_in(snapshot)}
        changed = [name for name, stamp in stamps.items() if self.sent.get(name) != stamp]
        for names in ([name for name in changed if not name.endswith(".json")],
                      [name for name in changed if name.endswith(".json")]):  # fmt: skip
            self.sent.update(dict.fromkeys(names))  # if this fails, some have arrived
            send(self.store, snapshot, names, self.url)
            self.sent.update({name: stamps[name] for name in names})
        for name in self.sent.keys() - stamps.keys():
            if self.store.head(f"{self.url}/{name}") is not None:
                self.store.remove(f"{self.url}/{name}")
            del self.sent[name]


class Uploader:
    """Sends snapshots of the results in the background; the newest one goes until it has arrived."""

    def __init__(self, results):
        """results: a ResultsCopy."""
        self._results = results
        self._outgoing = results.folder.with_name(f"{results.folder.name}.outgoing")
        shutil.rmtree(self._outgoing, ignore_errors=True)
        self._count = 0
        self._newest = self._going = None  # the snapshot that is still to go, and the one on its way
        self._error = None  # of the last attempt
        self._change = threading.Condition()
        results.mark()
        threading.Thread(target=self._run, daemon=True).start()

    def submit(self):
        """Let the results go out as they are now; what is in the way is said and does not matter yet."""
        try:
            self._take_snapshot()
        except OSError as error:
            print(f"note: results are not sent for now: {error}", flush=True)

    def _take_snapshot(self):
        self._count += 1
        snapshot = self._outgoing / str(self._count)
        snapshot.mkdir(parents=True)
        for path in files_in(self._results.folder):
            place = snapshot / path.relative_to(self._results.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in NEVER_CHANGED:
                os.link(path, place)
            else:
                shutil.copy2(path, place)
        with self._change:
            if self._newest not in (None, self._going):
                shutil.rmtree(self._newest, ignore_errors=True)
            self._newest = snapshot
            self._change.notify_all()

    def close(self, patience):
        """Send everything, for `patience` seconds at the most; raises OSError if it has not arrived then."""
        deadline = time.monotonic() + patience
        self._take_snapshot()
        with self._change:
            while self._newest is not None:
                left = deadline - time.monotonic()
                if left <= 0 or isinstance(self._error, RefusedError):
                    raise OSError(f"the results in {self._results.folder} have not been sent: {self._error}")
                self._change.wait(left)
        self._results.unmark()
        shutil.rmtree(self._outgoing, ignore_errors=True)
        print(f"the results are at {self._results.url}", flush=True)

    def _run(self):
        delay = FIRST_DELAY
        while True:
            with self._change:
                self._change.wait_for(lambda: self._newest is not None)
                self._going = self._newest
            error = self._try(self._going)
            with self._change:
                if error is None or self._newest != self._going:
                    shutil.rmtree(self._going, ignore_errors=True)
                if error is None and self._newest == self._going:
                    self._newest = None
                self._going, self._error = None, error
                self._change.notify_all()
                if error is not None:
                    self._change.wait(delay)  # a new snapshot ends it
            delay = FIRST_DELAY if error is None else min(2 * delay, LONGEST_DELAY)

    def _try(self, snapshot):
        """Send a snapshot; return what was in the way, or None."""
        try:
            self._results.send(snapshot)
        except (OSError, UserError) as error:
            if self._error is None:
                print(f"note: results are not sent for now, trying again: {error}", flush=True)
            return error
        if self._error is not None:
            print("note: results are sent again", flush=True)
        return None


def files_in(folder):
    """Return the files of results in a folder, not those that are being written."""
    return [path for path in folder.rglob("*") if path.is_file() and not any(map(path.match, NOT_RESULTS))]


def stamp_of(path):
    """Return what tells a file from one that was changed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _is_in(name, result):
    return name == result or name.startswith(f"{result}/")
