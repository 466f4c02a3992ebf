# SPDX-License-Identifier: Apache-2.0
"""Results of tasks in the shared folder: each is complete or absent, whichever worker made it, and however often."""

import os
import pathlib
import shutil
import uuid
from collections.abc import Callable
from typing import Any

from src.common.files import read_json, write_json

RESULT_NAME = "result.json"
COMPLETE = "complete"


def files_of(path: pathlib.Path) -> pathlib.Path:
    """Return the folder of the files of the task whose folder is `path`; it is there once they are complete."""
    return path / COMPLETE


def find_result(path: pathlib.Path) -> Any:
    """Return the result of the task whose folder is `path`; None if it is not complete."""
    return read_json(files_of(path) / RESULT_NAME)


def make_once(path: pathlib.Path, work: Callable[[pathlib.Path], Any]) -> Any:
    """Return the result of the task whose folder is `path`; work on it unless it is complete.

    work: writes files into the folder that it gets, and returns the result, content for JSON other than None.
    A task may run twice at the same time, if the scheduler has lost the connection to a worker that still works: the
    first to be complete counts, and both have the same content.
    """
    result = find_result(path)
    if result is not None:
        return result
    shutil.rmtree(path, ignore_errors=True)  # the files of a worker that was killed
    own = path / uuid.uuid4().hex
    own.mkdir(parents=True)
    try:
        result = work(own)
        write_json(own / RESULT_NAME, result)
        os.rename(own, files_of(path))
    except BaseException:
        shutil.rmtree(own, ignore_errors=True)
        result = find_result(path)
        if result is None:
            raise
    return result


def take_files(path: pathlib.Path, names: list[str], target: pathlib.Path) -> None:
    """Move files of a complete task to a folder on the same disk; if this is interrupted, the task is to be redone."""
    complete = files_of(path)
    (complete / RESULT_NAME).unlink()
    for name in names:
        (complete / name).rename(target / name)
