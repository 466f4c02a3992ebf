# SPDX-License-Identifier: Apache-2.0
"""run.json beside the checkpoints: what made them, and how it went."""

import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys

import mindspore as ms
import numpy as np

from src.common.errors import UserError
from src.common.files import write_json
from src.common.signals import signals_for_children
from src.config import Role, keys_of

RUN_NAME = "run.json"
FIXED_SETTINGS = keys_of(Role.RUN_IDENTITY)
# The data are compared by their checksums, so the settings that they were made with need not be.
FREE_SETTINGS = keys_of(Role.FREE, Role.PARSED_ROWS, Role.MINDRECORD)


class RunRecord:
    """The content of run.json in the folder `path`.

    settings: the configuration as a dict.  meta: the DatasetMeta of the data.
    """

    def __init__(self, path, settings, meta, device, rank_count=1):
        self._path = pathlib.Path(path, RUN_NAME)
        self._content = {
            "command": this_command(),
            "settings": json.loads(json.dumps(settings)),
            "data": {
                "vocabulary_sha256": meta.vocabulary_sha256,
                "files": {file.name: file.sha256 for split in meta.splits.values() for file in split.files},
            },
            "versions": {
                "python": platform.python_version(),
                "mindspore": ms.__version__,
                "numpy": np.__version__,
                "git_commit": _git_commit(),
            },
            "host": {
                "name": platform.node(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "device": device,
                "ranks": rank_count,
            },
        }
        self._losses = []

    def go_on_from(self, folder, epochs_done):
        """Go on, after so many epochs, with the run whose run.json is in a folder; return a note on each other setting.

        Raises UserError if that would not be the same run.
        """
        path = pathlib.Path(folder, RUN_NAME)
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            settings, data, losses = earlier["settings"], earlier["data"], earlier["losses"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is missing or damaged, so this run cannot be gone on with") from error
        self._losses = [loss for loss in losses if loss[0] <= epochs_done]
        ours = self._content["settings"]
        # A run of an earlier version lacks the settings that did not exist then.
        known = [key for key in ours if key in settings and key not in FREE_SETTINGS]
        changed = [key for key in known if ours[key] != settings[key]]
        for key in FIXED_SETTINGS:
            if key in changed:
                raise UserError(f"--{key}={ours[key]}: the run in {folder} has {settings[key]}")
        if data != self._content["data"]:
            raise UserError(f"--dataset_path={ours['dataset_path']}: the run in {folder} has other data")
        return [f"--{key}={ours[key]} from here on; it was {settings[key]}" for key in changed]

    def add_loss(self, epochs_done, loss, learning_rate):
        """Take in the loss of a step, and the rate that it had."""
        self._losses.append((epochs_done, loss, learning_rate))

    def write(self, state):
        """Write run.json with the losses so far and the history of a TrainState."""
        content = {**self._content, "history": state.history, "losses": self._losses}
        write_json(self._path, content)


def read_run(folder):
    """Return the content of the run.json in a folder; {} if there is none that can be read."""
    try:
        return json.loads(pathlib.Path(folder, RUN_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def this_command():
    """Return the command that runs, as one would type it."""
    return shlex.join(["python", *sys.argv])


def _git_commit():
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
