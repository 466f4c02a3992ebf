# SPDX-License-Identifier: Apache-2.0
"""Fetch the data of a job: MindRecord, a .zip, or raw rows; from a folder, a file, or an address of an object store."""

import contextlib
import enum
import os
import pathlib
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from src.common.errors import UserError
from src.common.files import partial_path, read_json, write_json
from src.common.locks import try_lock
from src.dataset_meta import META_NAME
from src.modelarts.archive import unpack
from src.modelarts.object_store import Location, Store, StoreAddress, StoredFile
from src.modelarts.transfer import PATIENCE_SECONDS, LocalCopy, retry
from src.preprocessing.source import CRITEO_NAMES, has_rows, identify

WAIT_SECONDS = 2 * 3600  # for the process of this host that fetches the data
POLL_SECONDS = 0.2
RAW_FOLDER = "origin_data"


class DataKind(enum.Enum):
    """The forms in which the data of a job may come."""

    MINDRECORD = enum.auto()
    ZIP = enum.auto()
    RAW = enum.auto()


@dataclass(frozen=True)
class FoundData:
    """The files of a folder that are the data, by their names relative to it."""

    folder: pathlib.Path
    kind: DataKind
    names: list[str]

    @property
    def first(self) -> pathlib.Path:
        return self.folder / self.names[0]


@dataclass(frozen=True)
class JobData:
    """A MindRecord folder on this host, or with `is_raw` a folder of raw rows, which are to be preprocessed."""

    folder: pathlib.Path
    is_raw: bool


@contextlib.contextmanager
def folder_lock(folder: os.PathLike | str) -> Iterator[None]:
    """Let one process of this host at a time enter a `with` block for a folder; a killed process holds no lock.

    UserError after WAIT_SECONDS.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while (lock := try_lock(folder / "job.lock")) is None:
        if time.monotonic() > deadline:
            raise UserError(f"{folder}: another process has been fetching data for {WAIT_SECONDS / 3600:g} hours")
        time.sleep(POLL_SECONDS)
    with lock:
        yield


def fetch_data(source: Location, folder: os.PathLike | str) -> JobData:
    """Fetch the data at `source` and return where they are on this host.

    Files that have to be downloaded or unpacked are in `folder` afterwards, and raw rows in folder/origin_data, where
    preprocessing looks for them.  A second call with the same data downloads and unpacks nothing.
    """
    folder = pathlib.Path(folder)
    found = _download(source, folder / "downloaded") if isinstance(source, StoreAddress) else _find_local(source)
    if found.kind is DataKind.ZIP:
        found = _find_local(_unpack_once(found.first, folder / "unpacked"))
        if found.kind is DataKind.ZIP:
            raise UserError(f"{source}: the .zip contains another .zip")
    if found.kind is DataKind.RAW:
        _link(folder / RAW_FOLDER, found.first.parent)
        return JobData(folder / RAW_FOLDER, is_raw=True)
    return JobData(found.first.parent, is_raw=False)


def list_files(url: str, store: Store) -> tuple[str, dict[str, StoredFile]]:
    """Return the address of a folder and its files by name; for a file, its folder and this file alone.

    UserError if there is neither.
    """
    url = url.rstrip("/")
    files = retry(lambda: store.list(url), PATIENCE_SECONDS)
    if files:
        return url, files
    file = retry(lambda: store.head(url), PATIENCE_SECONDS)
    if file is None:
        raise UserError(f"{url}: no such file or folder")
    parent, _, name = url.rpartition("/")
    return parent, {name: file}


def _download(address: StoreAddress, folder: pathlib.Path) -> FoundData:
    """Make `folder` hold the files at an address that are the data."""
    parent, files = list_files(address.url, address.store)
    found = _choose(folder, files, address.url)
    LocalCopy(address.store, parent, folder).update({name: files[name] for name in found.names})
    return found


def _find_local(path: pathlib.Path) -> FoundData:
    """Return the data at a local path, a folder or a file."""
    if path.is_file():
        return _choose(path.parent, [path.name], str(path))
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    names = [found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()]
    return _choose(path, names, str(path))


def _choose(folder: pathlib.Path, names: Iterable[str], source: str) -> FoundData:
    """Return which files are the data: those of a MindRecord folder, or one .zip, or the files of raw rows.

    Of raw rows that is one of CRITEO_NAMES, or else all files of rows in the folder that has the first one.

    source: the path or address of the files, for messages.
    """
    names = sorted(names, key=lambda name: (name.count("/"), name))  # the top of the tree first
    for meta in [name for name in names if pathlib.PurePosixPath(name).name == META_NAME]:
        parent = pathlib.PurePosixPath(meta).parent
        records = [name for name in names if pathlib.PurePosixPath(name).parent == parent]
        return FoundData(folder, DataKind.MINDRECORD, records)
    archives = [name for name in names if name.endswith(".zip")]
    if len(archives) > 1:
        raise UserError(f"{source} holds several .zip files, {', '.join(archives[:3])}; name the one that is meant")
    if archives:
        return FoundData(folder, DataKind.ZIP, archives)
    raw = [name for wanted in CRITEO_NAMES for name in names if pathlib.PurePosixPath(name).name == wanted]
    if raw:
        return FoundData(folder, DataKind.RAW, raw[:1])
    rows = [name for name in names if has_rows(pathlib.PurePosixPath(name).name)]
    if not rows:
        raise UserError(f"{source} holds neither {META_NAME}, as a MindRecord folder does, nor a .zip, nor "
                        f"{', '.join(CRITEO_NAMES)} or other files of rows")  # fmt: skip
    first = pathlib.PurePosixPath(rows[0]).parent
    return FoundData(folder, DataKind.RAW, [name for name in rows if pathlib.PurePosixPath(name).parent == first])


def _unpack_once(archive: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Return `folder` with the content of the archive, which an earlier run may have unpacked."""
    identity_path, identity = folder.with_name(f"{folder.name}.json"), identify(archive)
    if read_json(identity_path) != identity or not folder.is_dir():
        partial = partial_path(folder)
        for old in (partial, folder):
            shutil.rmtree(old, ignore_errors=True)
        print(f"unpacking {archive}", flush=True)
        unpack(archive, partial)
        partial.rename(folder)
        write_json(identity_path, identity)
    return folder


def _link(link: pathlib.Path, target: pathlib.Path) -> None:
    """Make a symbolic link; replace an earlier one."""
    if link.resolve() == target.resolve():
        return
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} holds other raw rows; choose another --data_path or remove them")
    link.unlink(missing_ok=True)
    os.symlink(target.resolve(), link)
