# SPDX-License-Identifier: Apache-2.0
"""Bring the data of a job to this machine: MindRecord, a .zip, or raw rows; a folder, a file, or an address."""

import contextlib
import os
import pathlib
import shutil
import time

from src.common.errors import UserError
from src.common.files import partial_path, read_json, write_json
from src.common.locks import try_lock
from src.dataset_meta import META_NAME
from src.modelarts.archive import unpack
from src.modelarts.object_store import is_remote
from src.modelarts.transfer import PATIENCE_SECONDS, LocalCopy, retry
from src.preprocessing.raw_rows import ARCHIVE_NAME, GZIP_NAME, TEXT_NAME
from src.preprocessing.result_folder import identify

WAIT_SECONDS = 2 * 3600  # for the process of this machine that brings the data
RAW_NAMES = (TEXT_NAME, GZIP_NAME, ARCHIVE_NAME)
RAW_FOLDER = "origin_data"


@contextlib.contextmanager
def folder_lock(folder):
    """Let one process of this machine after the other do something with a folder; a killed one holds up nobody."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + WAIT_SECONDS
    while (lock := try_lock(folder / "job.lock")) is None:
        if time.monotonic() > deadline:
            raise UserError(f"{folder}: another process has been bringing data for {WAIT_SECONDS / 3600:g} hours")
        time.sleep(0.2)
    with lock:
        yield


def prepare_data(url, store, folder, preprocess):
    """Return the MindRecord folder of the data at `url`, a path of this machine or an address of `store`.

    What has to be copied, unpacked or preprocessed is in `folder` afterwards, and is not done again.
    preprocess: makes a MindRecord folder of the raw rows in folder/origin_data, and returns it.
    """
    folder = pathlib.Path(folder)
    if is_remote(url):
        parent, files = list_files(url, store)
        wanted = _choose(url, files)
        LocalCopy(store, parent, folder / "downloaded").update({name: files[name] for name in wanted})
        source = folder / "downloaded"
    else:
        source, wanted = _find_local(pathlib.Path(url))
    if wanted[0].endswith(".zip"):
        source = _unpack_once(source / wanted[0], folder / "unpacked")
        source, wanted = _find_local(source)
        if wanted[0].endswith(".zip"):
            raise UserError(f"{url}: there is a .zip in the .zip")
    place = (source / wanted[0]).parent
    if any(name.endswith(META_NAME) for name in wanted):
        return place
    _link(folder / RAW_FOLDER, place)
    return preprocess()


def list_files(url, store):
    """Return the address of a folder, and its StoredFiles by name; of a file the folder it is in, and it alone."""
    url = url.rstrip("/")
    files = retry(lambda: store.list(url), PATIENCE_SECONDS)
    if files:
        return url, files
    file = retry(lambda: store.head(url), PATIENCE_SECONDS)
    if file is None:
        raise UserError(f"{url}: there is nothing")
    parent, _, name = url.rpartition("/")
    return parent, {name: file}


def _find_local(path):
    """Return a folder and the names of what is wanted of it."""
    if path.is_file():
        return path.parent, _choose(path, [path.name])
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    return path, _choose(path, [found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()])


def _choose(place, names):
    """Return which files are the data: those of a MindRecord folder, or one .zip, or one file of raw rows."""
    names = sorted(names, key=lambda name: (name.count("/"), name))  # the nearest first
    for meta in [name for name in names if pathlib.PurePosixPath(name).name == META_NAME]:
        parent = pathlib.PurePosixPath(meta).parent
        return [name for name in names if pathlib.PurePosixPath(name).parent == parent]
    archives = [name for name in names if name.endswith(".zip")]
    if len(archives) > 1:
        raise UserError(f"{place} holds several .zip files, {', '.join(archives[:3])}; name the one that is meant")
    raw = [name for wanted in RAW_NAMES for name in names if pathlib.PurePosixPath(name).name == wanted]
    if not archives and not raw:
        raise UserError(f"{place} holds neither {META_NAME}, as a MindRecord folder does, nor a .zip, nor "
                        f"{', '.join(RAW_NAMES)}")  # fmt: skip
    return archives or raw[:1]


def _unpack_once(archive, folder):
    """Return `folder` with what is in the archive, which an earlier run may have unpacked."""
    note, identity = folder.with_name(f"{folder.name}.json"), identify(archive)
    if read_json(note) != identity or not folder.is_dir():
        partial = partial_path(folder)
        for old in (partial, folder):
            shutil.rmtree(old, ignore_errors=True)
        print(f"unpacking {archive}", flush=True)
        unpack(archive, partial)
        partial.rename(folder)
        write_json(note, identity)
    return folder


def _link(link, target):
    """Make a symbolic link, in place of an earlier one."""
    if link.resolve() == target.resolve():
        return
    if link.exists() and not link.is_symlink():
        raise UserError(f"{link} holds other raw rows; choose another --data_path or remove them")
    link.unlink(missing_ok=True)
    os.symlink(target.resolve(), link)
