# SPDX-License-Identifier: Apache-2.0
"""A job of ModelArts: fetch the data and a checkpoint, run the script on local paths, upload the results.

The platform copies a folder of OBS to a local one before a job, and back after it, if the inputs and outputs of the job
are set so: the addresses that the job gets are then local paths.  An obs:// or s3:// address is for the job itself to
copy.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from src.common.errors import UserError
from src.common.locks import exclusive_training
from src.config import Config
from src.dataset_meta import VOCABULARY_NAME
from src.distributed.environment import read_launcher
from src.evaluation.record import RECORD_NAME
from src.export.probe_rows import PROBE_NAME
from src.input_checks import check_urls
from src.modelarts.inputs import fetch_data, folder_lock, list_files
from src.modelarts.object_store import Location, StoreAddress, locate
from src.modelarts.outputs import ResultsCopy, Uploader
from src.modelarts.transfer import PATIENCE_SECONDS, LocalCopy
from src.package.raw_encoding import RAW_ROWS_NAME

FAILED_PATIENCE_SECONDS = 30  # for the upload after a job has failed or was stopped
MODEL_NAME = "model.json"
CHECKPOINT_SUFFIXES = (".ckpt", ".safetensors")  # of one that is a file, and of its parts
COMPANIONS = ("run.json", PROBE_NAME, RAW_ROWS_NAME, VOCABULARY_NAME, RECORD_NAME)  # of a checkpoint in its folder
URL_KEYS = ("data_url", "train_url", "checkpoint_url")


@dataclasses.dataclass(frozen=True)
class Job:
    """The configuration of a job with local paths, and a function to call when there are new results."""

    config: Config
    publish: Callable[[], None] = lambda: None


@contextlib.contextmanager
def open_job(config: Config, outputs: Sequence[str], checkpoint_key: str, *, needs_data: bool = True) -> Iterator[Job]:
    """Give a `with` block the Job, and upload its results; without enable_modelarts the configuration is unchanged.

    outputs: the settings that name files or folders to write, which are moved below train_url or output_path.
    checkpoint_key: the setting that gets the local path of checkpoint_url.  needs_data: False for a script that also
    runs without data_url.
    """
    if not config.enable_modelarts:
        yield Job(config)
        return
    urls = {key: url for key in URL_KEYS if (url := getattr(config, key)) is not None}
    check_urls(config, needs_data=needs_data)
    locations = locate(urls, os.environ)
    outputs = [key for key in outputs if getattr(config, key) is not None]
    with folder_lock(config.data_path):
        changes = _fetch_inputs(config, checkpoint_key, locations)
        copy, folder = _open_results(config, outputs, locations["train_url"])
    changes |= {key: str(folder / getattr(config, key)) for key in outputs}
    if "ckpt_path" in outputs:
        changes["resume"] = _decide_resume(config, (folder / config.ckpt_path / MODEL_NAME).exists())
    config = dataclasses.replace(config, **changes)
    if copy is None or read_launcher().rank not in (None, 0):
        yield Job(config)
        return
    with _uploading(copy) as uploader:
        yield Job(config, uploader.submit)


@contextlib.contextmanager
def _uploading(copy: ResultsCopy) -> Iterator[Uploader]:
    """Upload results during and at the end of a `with` block; after a failure of the block with little patience."""
    uploader = Uploader(copy)
    try:
        yield uploader
    except BaseException:
        try:
            uploader.close(FAILED_PATIENCE_SECONDS)
        except OSError as error:
            print(f"error: {error}", file=sys.stderr)
        raise
    uploader.close(PATIENCE_SECONDS)


def _decide_resume(config: Config, has_results: bool) -> bool:
    """Return whether training resumes: yes if there are results of an earlier start, whatever --resume says.

    The platform restarts a job with the same flags, so --resume cannot tell a restart from a first start.  A note is
    printed where the decision differs from the flag.
    """
    if has_results and not config.resume:
        print(f"note: {config.train_url} holds an earlier start of this job, so it resumes; for a new training choose "
              "another --train_url")  # fmt: skip
    if config.resume and not has_results:
        print(f"note: --resume=True: {config.train_url} holds no earlier start of this job, so training starts anew")
    return has_results


def _fetch_inputs(config: Config, checkpoint_key: str, locations: dict[str, Location]) -> dict[str, Any]:
    """Return the settings that name the data and the checkpoint.  locations: by the setting that gives the address."""
    settings: dict[str, Any] = {}
    if "data_url" in locations:
        data = fetch_data(locations["data_url"], config.data_path)
        folder = _preprocess(config) if data.is_raw else data.folder
        print(f"data: {folder}")
        settings["dataset_path"] = str(folder)
    if "checkpoint_url" in locations:
        settings[checkpoint_key] = str(_fetch_checkpoint(locations["checkpoint_url"], config.load_path))
    return settings


def _preprocess(config: Config) -> pathlib.Path:
    """Return the MindRecord folder of the raw rows in data_path; an old one is replaced, as it can be made again."""
    from src.preprocessing.pipeline import make_records  # here, as few jobs need it

    return make_records(dataclasses.replace(config, overwrite=True))


def _fetch_checkpoint(source: Location, folder: str) -> pathlib.Path:
    """Return the local file or folder for a checkpoint_url, which may also name the parent of the checkpoint folder."""
    if not isinstance(source, StoreAddress):
        inner = source / "checkpoint"
        return inner if (inner / MODEL_NAME).exists() and not (source / MODEL_NAME).exists() else source
    url = source.url.rstrip("/")
    address, _, name = url.rpartition("/") if url.endswith(".ckpt") else (url, "", "")
    _, files = list_files(address, source.store)
    index = next((found for found in sorted(files, key=len) if found in (MODEL_NAME, f"checkpoint/{MODEL_NAME}")), None)
    if index is None:
        raise UserError(f"{address} holds no {MODEL_NAME}, so it is no checkpoint folder that train.py has written")
    parent = index.removesuffix(MODEL_NAME)
    names = (index, parent + name, *(parent + companion for companion in COMPANIONS))
    prefix = parent + (f"{name.removesuffix('.ckpt')}.part-" if name else "")
    wanted = [found for found in files if found in names
              or (found.startswith(prefix) and found.endswith(CHECKPOINT_SUFFIXES))]  # fmt: skip
    LocalCopy(source.store, address, folder).update({found: files[found] for found in wanted})
    return pathlib.Path(folder, parent, name)


def _open_results(
    config: Config, outputs: Sequence[str], location: Location
) -> tuple[ResultsCopy | None, pathlib.Path]:
    """Return the ResultsCopy, None if train_url is a local path, and the folder of results."""
    for key in outputs:
        path = pathlib.PurePath(getattr(config, key))
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"--{key}={path}: with --enable_modelarts=True it must be a path below the results' folder")
    if not isinstance(location, StoreAddress):
        location.mkdir(parents=True, exist_ok=True)
        return None, location
    copy = ResultsCopy(location.store, location.url, config.output_path)
    if "ckpt_path" in outputs and (copy.folder / config.ckpt_path).is_dir():
        with exclusive_training(copy.folder / config.ckpt_path, {}):
            pass  # otherwise the results here belong to a training that is still running
    copy.restore([pathlib.PurePath(getattr(config, key)).as_posix() for key in outputs])
    return copy, copy.folder
