# SPDX-License-Identifier: Apache-2.0
"""Copy files from and to an object store: in parallel, with retries, verified, and complete or not at all."""

import contextlib
import hashlib
import os
import pathlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from src.common.errors import UserError
from src.common.files import check_room, file_digest, move_into_place, partial_path, read_json, size_of, write_json
from src.common.progress import Progress
from src.modelarts.object_store import Store, StoredFile, StoreError

PARALLEL_COPIES = 8
PATIENCE_SECONDS = 300  # for retries
FIRST_DELAY, LONGEST_DELAY = 0.5, 5  # seconds between two attempts

Pause = Callable[[float], object]  # waits for some seconds
Result = TypeVar("Result")


def retry(action: Callable[[], Result], patience: float, pause: Pause = time.sleep) -> Result:
    """Call `action` until it raises no StoreError, with growing delays, for `patience` seconds; return its result."""
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
    """A local folder that holds files of a store; a ledger next to it lists the files that are complete."""

    def __init__(self, store: Store, url: str, folder: os.PathLike | str):
        self._store, self._url, self.folder = store, url, pathlib.Path(folder)
        self._ledger_path = self.folder.with_name(f"{self.folder.name}.json")
        self._complete: dict[str, StoredFile] = self._read_ledger()  # without their MD5

    def update(self, files: dict[str, StoredFile]) -> None:
        """Make the folder hold exactly these files; those that are there already are not downloaded again.

        UserError if the folder holds other files, or the disk has no room.
        """
        if not self._ledger_path.exists() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} is the local copy of {self._url}, but it holds other files; empty it")
        wanted = {name: StoredFile(file.size, file.tag) for name, file in files.items()}
        self._complete = {
            name: file for name, file in self._complete.items() if file == wanted.get(name) and self._has(name)
        }
        self._write_ledger()
        for path in [path for path in self.folder.rglob("*") if path.is_file()]:
            if path.relative_to(self.folder).as_posix() not in self._complete:
                path.unlink()
        missing = [name for name in wanted if name not in self._complete]
        check_room(self.folder, sum(files[name].size for name in missing), self._url)
        if missing:
            self._download_all({name: wanted[name] for name in missing})

    def _download_all(self, wanted: dict[str, StoredFile]) -> None:
        progress = Progress("download", sum(file.size for file in wanted.values()), "bytes")
        complete = shown = 0
        for name in copy_all(self._download, list(wanted)):
            if name is not None:
                self._complete[name] = wanted[name]
                self._write_ledger()
                complete += wanted[name].size
            begun = sum(size_of(self._partial(name)) for name in wanted)
            progress.advance(max(complete + begun - shown, 0))
            shown = max(shown, complete + begun)
        progress.close()

    def _partial(self, name):
        return partial_path(self.folder / name)

    def _download(self, name: str, pause: Pause) -> None:
        path, url = self.folder / name, f"{self._url}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._partial(name)

        def download_once():
            self._store.get(url, partial)
            verify(url, self._store.head(url), partial)

        retry(download_once, PATIENCE_SECONDS, pause)
        move_into_place(partial, path)

    def _has(self, name):
        path = self.folder / name
        return path.is_file() and path.stat().st_size == self._complete[name].size

    def _read_ledger(self):
        ledger = read_json(self._ledger_path)
        if not ledger or ledger["url"] != self._url:
            return {}
        return {name: StoredFile(size, tag) for name, (size, tag) in ledger["files"].items()}

    def _write_ledger(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: [file.size, file.tag] for name, file in self._complete.items()}
        write_json(self._ledger_path, {"url": self._url, "files": files})


def upload(store: Store, folder: pathlib.Path, names: Iterable[str], url: str) -> None:
    """Upload files of a folder, each in one attempt, to names below an address; StoreError if one fails."""

    def upload_one(name, _):
        store.put(folder / name, f"{url}/{name}")
        verify(f"{url}/{name}", store.head(f"{url}/{name}"), folder / name)

    for _ in copy_all(upload_one, names):
        pass


def copy_all(copy: Callable[[str, Pause], object], names: Iterable[str]) -> Iterator[str | None]:
    """Call copy(name, pause) for all names, several in parallel; the first error ends the others.

    Yield each name when it is complete, and None every second.
    """
    is_over = threading.Event()

    def pause(seconds):
        if is_over.wait(seconds):
            raise StoreError("given up, as another file has failed")

    with ThreadPoolExecutor(PARALLEL_COPIES) as pool, contextlib.ExitStack() as stack:
        stack.callback(is_over.set)
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        tasks = {pool.submit(copy, name, pause): name for name in names}
        left = set(tasks)
        while left:
            done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
            for task in done:
                task.result()
                yield tasks[task]
            yield None


def verify(url: str, stored: StoredFile | None, path: pathlib.Path) -> None:
    """Raise StoreError unless a file in the store is the same as a local one, in size and, if known, in MD5."""
    size = path.stat().st_size
    if stored is None or stored.size != size:
        raise StoreError(f"{url} has {stored.size if stored else 'no'} bytes, {path} has {size}")
    if stored.md5 and stored.md5 != file_digest(path, hashlib.md5(usedforsecurity=False)):
        raise StoreError(f"{url} and {path} differ in their MD5")
