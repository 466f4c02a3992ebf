# SPDX-License-Identifier: Apache-2.0
"""Copy files from and to an object store: several at once, again after a failure, checked, and never half."""

import contextlib
import hashlib
import pathlib
import random
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from src.common.errors import UserError
from src.common.files import check_room, file_digest, partial_path, read_json, size_of, write_json
from src.common.progress import Progress
from src.modelarts.object_store import StoreError

AT_ONCE = 8
PATIENCE_SECONDS = 300  # with a store that fails
FIRST_DELAY, LONGEST_DELAY = 0.5, 5


def retry(action, patience, pause=time.sleep):
    """Call `action` until it raises no StoreError, with longer and longer pauses, for `patience` seconds; return what
    it returns.
    """
    deadline, delay = time.monotonic() + patience, FIRST_DELAY
    while True:
        try:
            return action()
        except StoreError:
            if time.monotonic() + delay > deadline:
                raise
        pause(delay * random.uniform(0.5, 1))
        delay = min(2 * delay, LONGEST_DELAY)


class LocalCopy:
    """A folder that holds files of a store, and beside it a note of which of them are whole."""

    def __init__(self, store, url, folder):
        self._store, self._url, self.folder = store, url, pathlib.Path(folder)
        self._note = self.folder.with_name(f"{self.folder.name}.json")
        self._whole = self._read_note()

    def update(self, files):
        """Make the folder hold these files and no others, StoredFiles by name; what is there already is not copied."""
        if not self._note.exists() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} is where {self._url} is copied to, but it holds other files; empty it")
        wanted = {name: [file.size, file.tag] for name, file in files.items()}
        self._whole = {name: what for name, what in self._whole.items() if what == wanted.get(name) and self._has(name)}
        self._write_note()
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            if path.relative_to(self.folder).as_posix() not in self._whole:
                path.unlink()
        missing = [name for name in wanted if name not in self._whole]
        check_room(self.folder, sum(files[name].size for name in missing), self._url)
        if missing:
            self._fetch_all({name: wanted[name] for name in missing})

    def _fetch_all(self, wanted):
        progress = Progress("download", sum(size for size, _ in wanted.values()), "bytes")
        whole = shown = 0
        for name in copy_all(self._fetch, list(wanted)):
            if name is not None:
                self._whole[name] = wanted[name]
                self._write_note()
                whole += wanted[name][0]
            begun = sum(size_of(self._partial(name)) for name in wanted)
            progress.advance(max(whole + begun - shown, 0))
            shown = max(shown, whole + begun)
        progress.close()

    def _partial(self, name):
        return partial_path(self.folder / name)

    def _fetch(self, name, pause):
        path, url = self.folder / name, f"{self._url}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._partial(name)

        def fetch_once():
            self._store.get(url, partial)
            check_same(url, self._store.head(url), partial)

        retry(fetch_once, PATIENCE_SECONDS, pause)
        partial.replace(path)

    def _has(self, name):
        path = self.folder / name
        return path.is_file() and path.stat().st_size == self._whole[name][0]

    def _read_note(self):
        note = read_json(self._note)
        return note["files"] if note and note["url"] == self._url else {}

    def _write_note(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._note, {"url": self._url, "files": self._whole})


def send(store, folder, names, url):
    """Copy files of a folder below an address; StoreError if that does not succeed at the first try."""

    def send_one(name, _):
        store.put(folder / name, f"{url}/{name}")
        check_same(f"{url}/{name}", store.head(f"{url}/{name}"), folder / name)

    for _ in copy_all(send_one, names):
        pass


def copy_all(copy, names):
    """Call copy(name, pause) for all names, several at once; the first error ends it.

    Yield each name when it is done, and None every second.
    """
    over = threading.Event()

    def pause(seconds):
        if over.wait(seconds):
            raise StoreError("given up, as another file has failed")

    with ThreadPoolExecutor(AT_ONCE) as pool, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        tasks = {pool.submit(copy, name, pause): name for name in names}
        left = set(tasks)
        while left:
            done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
            for task in done:
                task.result()
                yield tasks[task]
            yield None


def check_same(url, stored, path):
    """Raise StoreError unless the StoredFile, or None, at an address is the same as a file of this machine."""
    size = path.stat().st_size
    if stored is None or stored.size != size:
        raise StoreError(f"{url} has {stored.size if stored else 'no'} bytes, {path} has {size}")
    if stored.md5 and stored.md5 != file_digest(path, hashlib.md5(usedforsecurity=False)):
        raise StoreError(f"{url} and {path} differ in their MD5")
