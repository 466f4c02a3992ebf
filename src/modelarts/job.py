# SPDX-License-Identifier: Apache-2.0
"""A job of ModelArts: the data and a checkpoint come in, the script runs on paths of this machine, the results go out.

The platform copies a folder of OBS to a local one before a job and back after it, if its inputs and outputs are set so:
then the addresses that a job gets are local paths.  An obs:// or s3:// address is for the job itself to copy.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys

from src.common.errors import UserError
from src.common.locks import exclusive_training
from src.distributed.environment import read_launcher
from src.export.probe_rows import PROBE_NAME
from src.modelarts.inputs import folder_lock, list_files, prepare_data
from src.modelarts.object_store import is_remote, open_store
from src.modelarts.outputs import ResultsCopy, Uploader
from src.modelarts.transfer import PATIENCE_SECONDS, LocalCopy

FAILED_PATIENCE_SECONDS = 30  # with sending the results of a job that has failed or is being stopped
MODEL_NAME = "model.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """The settings of a job with paths of this machine, and what to call when there are new results."""

    config: object
    publish: object = lambda: None


@contextlib.contextmanager
def open_job(config, results, checkpoint_key, preprocess, needs_data=True):
    """Give a `with` block the Job, and send its results; without enable_modelarts the settings are left as they are.

    results: keys of settings that name files or folders to write; they come to lie below train_url or output_path.
    checkpoint_key: of the setting that gets what is at checkpoint_url.  preprocess: makes MindRecord of raw rows, of
    settings.  needs_data: False for a script that can do without, which a job then runs without data_url.
    """
    if not config.enable_modelarts:
        yield Job(config)
        return
    for key in ("data_url", "train_url") if needs_data else ("train_url",):
        if getattr(config, key) is None:
            raise UserError(f"--{key} is missing; a job of ModelArts needs it")
    urls = [url for url in (config.data_url, config.train_url, config.checkpoint_url) if url is not None]
    store = open_store(os.environ) if any(map(is_remote, urls)) else None
    results = [key for key in results if getattr(config, key) is not None]
    with folder_lock(config.data_path):
        settings = _bring_inputs(config, checkpoint_key, store, preprocess)
        copy, folder = _open_results(config, results, store)
    settings |= {key: str(folder / getattr(config, key)) for key in results}
    settings["resume"] = "ckpt_path" in results and pathlib.Path(settings["ckpt_path"], MODEL_NAME).exists()
    config = dataclasses.replace(config, **settings)
    if copy is None or read_launcher(os.environ).rank not in (None, 0):
        yield Job(config)
        return
    uploader = Uploader(copy)
    try:
        yield Job(config, uploader.submit)
    except BaseException:
        try:
            uploader.close(FAILED_PATIENCE_SECONDS)
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
        raise
    uploader.close(PATIENCE_SECONDS)


def _bring_inputs(config, checkpoint_key, store, preprocess):
    """Return the settings that name the data and the checkpoint."""
    settings = {}
    if config.data_url is not None:
        raw_settings = dataclasses.replace(config, overwrite=True)  # what is in data_path can be made again
        data = prepare_data(config.data_url, store, config.data_path, lambda: preprocess(raw_settings))
        print(f"data: {data}")
        settings["dataset_path"] = str(data)
    if config.checkpoint_url is not None:
        settings[checkpoint_key] = str(_bring_checkpoint(config.checkpoint_url, store, config.load_path))
    return settings


def _bring_checkpoint(url, store, folder):
    """Return the file or folder of this machine that `url` means; a folder may be that above the checkpoints."""
    if not is_remote(url):
        path = pathlib.Path(url)
        inner = path / "checkpoint"
        return inner if (inner / MODEL_NAME).exists() and not (path / MODEL_NAME).exists() else path
    url = url.rstrip("/")
    address, _, name = url.rpartition("/") if url.endswith(".ckpt") else (url, "", "")
    _, files = list_files(address, store)
    index = next((found for found in sorted(files, key=len) if found in (MODEL_NAME, f"checkpoint/{MODEL_NAME}")), None)
    if index is None:
        raise UserError(f"{address} holds no {MODEL_NAME}, as the folder of checkpoints does that train.py has written")
    parent = index.removesuffix(MODEL_NAME)
    names = (index, parent + name, f"{parent}run.json", f"{parent}{PROBE_NAME}")
    wanted = [found for found in files if found in names
              or (not name and found.startswith(parent) and found.endswith(".ckpt"))]  # fmt: skip
    LocalCopy(store, address, folder).update({found: files[found] for found in wanted})
    return pathlib.Path(folder, parent, name)


def _open_results(config, results, store):
    """Return the ResultsCopy, None if train_url is a path of this machine, and the folder of results."""
    for key in results:
        path = pathlib.PurePath(getattr(config, key))
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"--{key}={path}: with --enable_modelarts=True a path below that of the results")
    if not is_remote(config.train_url):
        folder = pathlib.Path(config.train_url)
        folder.mkdir(parents=True, exist_ok=True)
        return None, folder
    copy = ResultsCopy(store, config.train_url, config.output_path)
    if "ckpt_path" in results and (copy.folder / config.ckpt_path).is_dir():
        with exclusive_training(copy.folder / config.ckpt_path, {}):
            pass  # otherwise what is here belongs to a training that is still running
    copy.restore([pathlib.PurePath(getattr(config, key)).as_posix() for key in results])
    return copy, copy.folder
