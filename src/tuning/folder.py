# SPDX-License-Identifier: Apache-2.0
"""The folder of a search: its journal, the predictions of its trials, best.yaml and tuning.html."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from src.common.errors import UserError
from src.common.locks import temporary_lock
from src.common.output_paths import Kind, Output, prepared
from src.tuning.predictions import FOLDER_NAME
from src.tuning.study import JOURNAL_NAME

LOCK_NAME = "tune.lock"
RECIPE_NAME, PAGE_NAME = "best.yaml", "tuning.html"
CHECKPOINT_NAME = "checkpoint"  # the folder for the training of the recipe, which the summary proposes


@contextlib.contextmanager
def search_folder(path: str, *, resume: bool, overwrite: bool) -> Iterator[pathlib.Path]:
    """Prepare the folder of a search and keep other searches from it, for a `with` block.

    UserError if it holds an earlier search that is neither to be resumed nor to be replaced.
    """
    folder = pathlib.Path(path)
    with prepared([Output("tune_path", path, Kind.FOLDER)]), temporary_lock(folder / LOCK_NAME) as lock:
        if lock is None:
            raise UserError(f"another search is writing to {path}; wait for it, stop it, or choose another --tune_path")
        if not resume and (folder / JOURNAL_NAME).exists():
            if not overwrite:
                raise UserError(
                    f"{path} holds an earlier search; resume it by --resume=True, choose another --tune_path, or "
                    "replace it with --overwrite=True"
                )
            _remove(folder)
        yield folder


def _remove(folder):
    for name in (RECIPE_NAME, PAGE_NAME, JOURNAL_NAME):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER_NAME, ignore_errors=True)
