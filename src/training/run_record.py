# SPDX-License-Identifier: Apache-2.0
"""run.json next to the checkpoints: the provenance of a run, and its losses and validations."""

import json
import os
import pathlib
import platform
import subprocess

import mindspore as ms
import numpy as np
from mindspore.train import RunContext

from src.callback import Callback
from src.common.errors import UserError
from src.common.files import write_json
from src.common.flags import this_command
from src.common.progress import epoch_and_step
from src.common.signals import signals_for_children
from src.config import Role, keys_of
from src.dataset_meta import DatasetMeta

RUN_NAME = "run.json"
# The position in the data and the meaning of the parameters depend on these: a run cannot be resumed with others.
FIXED_SETTINGS = keys_of(Role.RUN_IDENTITY)
# A change of these is not worth a note: they do not influence the weights, or only by the data, which are compared.
FREE_SETTINGS = keys_of(Role.FREE, Role.PARSED_ROWS, Role.MINDRECORD)


class RunRecord(Callback):
    """Writes run.json in the folder `path` before each checkpoint; a checkpoint itself has only the counts."""

    rank_zero_only = True

    def __init__(self, path: os.PathLike | str, settings: dict, data: DatasetMeta, device: str, rank_count: int = 1):
        """settings: the configuration.  device: its target."""
        self._path = pathlib.Path(path, RUN_NAME)
        self._content = {
            "command": this_command(),
            "settings": json.loads(json.dumps(settings)),
            "data": {
                "vocabulary_sha256": data.vocabulary_sha256,
                "files": {file.name: file.sha256 for split in data.splits.values() for file in split.files},
            },
            "versions": software_versions(),
            "host": {
                "name": platform.node(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "device": device,
                "ranks": rank_count,
            },
        }
        self._history: list[dict] = []  # a dict for each validation, or each epoch if there is no validation set
        self._losses: list[list[float]] = []  # [epochs done, loss, learning rate] of each logged step

    def resume_from(self, folder: os.PathLike | str) -> list[str]:
        """Take over losses and history from the run.json in a folder; return a note on each setting that differs.

        Raises UserError if this would not be the same run.
        """
        path = pathlib.Path(folder, RUN_NAME)
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            settings, data, losses, history = (earlier[key] for key in ("settings", "data", "losses", "history"))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is missing or damaged, so this run cannot be resumed") from error
        current = self._content["settings"]
        # A run of an earlier version lacks the settings that did not exist then.
        known = [key for key in current if key in settings and key not in FREE_SETTINGS]
        changed = [key for key in known if current[key] != settings[key]]
        for key in FIXED_SETTINGS:
            if key in changed:
                raise UserError(f"--{key}={current[key]}: the run in {folder} has {settings[key]}")
        if data != self._content["data"]:
            raise UserError(f"--dataset_path={current['dataset_path']}: the run in {folder} has other data")
        self._losses, self._history = losses, history
        return [f"--{key}={current[key]} from here on; it was {settings[key]}" for key in changed]

    def state_dict(self) -> dict:
        return {"losses": len(self._losses), "history": len(self._history)}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        del self._losses[state["losses"] :], self._history[state["history"] :]

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.loss is not None:
            self._losses.append([params.cur_step_num / params.batch_num, params.loss, params.learning_rate])

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        step = params.cur_step_num
        self._history.append(
            {
                "epoch": epoch_and_step(step, params.batch_num)[0],
                "step": step,
                "epochs_done": step / params.batch_num,
                "learning_rate": params.learning_rate,
                "valid": params.metrics,
            }
        )

    def before_save(self, run_context: RunContext) -> None:
        write_json(self._path, {**self._content, "history": self._history, "losses": self._losses})


def read_run(folder: os.PathLike | str) -> dict:
    """Return the content of the run.json in a folder; {} if there is none that can be read."""
    try:
        return json.loads(pathlib.Path(folder, RUN_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def software_versions() -> dict[str, str | None]:
    """Return the versions of what a run depends on; None for a commit that is not known."""
    return {
        "python": platform.python_version(),
        "mindspore": ms.__version__,
        "numpy": np.__version__,
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """Return the commit of this code, with "+" if files were changed since; None if it is not in a git repository."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    try:
        commit, changes = _output_of([*git, "rev-parse", "HEAD"]), _output_of([*git, "status", "--porcelain", "-uno"])
        return commit + ("+" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _output_of(command):
    with signals_for_children():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output.decode().strip()
