# SPDX-License-Identifier: Apache-2.0
"""run.json beside the checkpoints: what made them, and how it went."""

import json
import os
import pathlib
import platform
import subprocess

import mindspore as ms
import numpy as np

from src.errors import UserError

RUN_NAME = "run.json"
# Of these the position in the data and the meaning of the parameters depend: no going on with others.
FIXED_SETTINGS = (
    "seed", "batch_size", "embedding_size", "hidden_sizes", "keep_prob", "embedding_keep_prob", "ema_decay",
)  # fmt: skip
# These say where and how long, not what is learned.
FREE_SETTINGS = (
    "device_target", "device_id", "dataset_path", "ckpt_path", "checkpoint_path", "resume", "overwrite",
    "loss_file_name", "eval_file_name", "enable_modelarts", "data_url", "train_url", "checkpoint_url", "data_path",
    "output_path", "load_path",
)  # fmt: skip


class RunRecord:
    """The content of run.json in the folder `path`.

    settings: the configuration as a dict.  meta: the DatasetMeta of the data.
    """

    def __init__(self, path, settings, meta, device, rank_count=1):
        self._path = pathlib.Path(path, RUN_NAME)
        self._content = {
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

    def compare(self, folder):
        """Compare with the run.json in a folder; return a note on each setting that differs.

        Raises UserError if going on would not be the same run.
        """
        path = pathlib.Path(folder, RUN_NAME)
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
            settings, data = earlier["settings"], earlier["data"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} is missing or damaged, so this run cannot be gone on with") from error
        ours = self._content["settings"]
        changed = [key for key in ours if key not in FREE_SETTINGS and ours[key] != settings.get(key)]
        for key in FIXED_SETTINGS:
            if key in changed:
                raise UserError(f"--{key}={ours[key]}: the run in {folder} has {settings.get(key)}")
        if data != self._content["data"]:
            raise UserError(f"--dataset_path={ours['dataset_path']}: the run in {folder} has other data")
        return [f"--{key}={ours[key]} from here on; it was {settings.get(key)}" for key in changed]

    def write(self, state):
        """Write run.json with the history of a TrainState."""
        content = {**self._content, "history": state.history}
        beside = self._path.with_name(f"{RUN_NAME}.tmp")
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        beside.replace(self._path)


def _git_commit():
    """Return the commit of this code, with "+" if files were changed since; None if it is not in a git repository."""
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
        return commit + ("+" if changes.stdout else "")
    except (OSError, subprocess.CalledProcessError):
        return None
