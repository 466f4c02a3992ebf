# SPDX-License-Identifier: Apache-2.0
"""Results of tasks in the storage: each is complete or absent, whichever worker made it, and however often."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from src.common.files import write_json
from src.preprocessing.cluster.storage import Storage

RESULT_NAME = "result.json"
COMPLETE = "complete"


def files_of(target: str) -> str:
    """Return the folder of the files of the task whose folder is `target`; it is there once they are complete."""
    return f"{target}/{COMPLETE}"


def find_results(storage: Storage, targets: Sequence[str]) -> list[Any]:
    """Return the results of the tasks whose folders are `targets`; None for each that is not complete."""
    contents = storage.read_existing([f"{files_of(target)}/{RESULT_NAME}" for target in targets])
    return [None if content is None else json.loads(content) for content in contents]


def find_result(storage: Storage, target: str) -> Any:
    """Return the result of the task whose folder is `target`; None if it is not complete."""
    (result,) = find_results(storage, [target])
    return result


def make_once(storage: Storage, target: str, work: Callable[[pathlib.Path], Any]) -> Any:
    """Return the result of the task whose folder is `target`; work on it unless it is complete.

    work: writes files into the directory that it gets, and returns the result, content for JSON other than None.
    A task may run twice at the same time, if the scheduler has lost the connection to a worker that still works: both
    have the same content.  In a directory the first to be complete counts, in an object store the last one.
    """
    result = find_result(storage, target)
    if result is not None:
        return result
    try:
        with storage.scratch(target) as own:
            result = work(own)
            write_json(own / RESULT_NAME, result)
            storage.publish(own, files_of(target), RESULT_NAME)
    except BaseException:
        result = find_result(storage, target)
        if result is None:
            raise
    return result


def take_files(storage: Storage, target: str, names: list[str], folder: pathlib.Path) -> None:
    """Move files of a complete task to a folder of this machine; if this is interrupted, the task is to be redone."""
    storage.remove(f"{files_of(target)}/{RESULT_NAME}")
    for name in names:
        storage.take(f"{files_of(target)}/{name}", folder / name)
