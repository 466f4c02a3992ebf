# SPDX-License-Identifier: Apache-2.0
"""Checks of the inputs that flags name, made before MindSpore is imported, which takes seconds."""

import os

from src.common.errors import ConfigError
from src.common.files import listed_paths
from src.config import AUTO, Config, check_sink_size, read_help
from src.dataset_meta import DatasetMeta

CHECKPOINT_LISTS = ("checkpoint_path", "ckpt_file")  # settings that may name several checkpoints


def check_inputs(
    config: Config,
    needed: tuple[str, ...],
    optional: tuple[str, ...] = (),
    *,
    split: str | None = None,
    ranks: int = 1,
) -> None:
    """Raise UserError if an input of a command is missing, or if the data do not suit its flags.

    needed: keys of the settings that name the inputs; "auto" stands for ckpt_path.  optional: those of inputs that may
    be missing unless a user has named them.  split: the split whose batches the command reads, None if it reads none.
    ranks: the number of processes that divide them.
    """
    named = [key for key in optional if str(getattr(config, key)) != read_help()[key].default]
    for key in [*needed, *named]:
        _check_path(config, key)
        if key == "dataset_path":
            _check_data(DatasetMeta.load(config.dataset_path), config, split, ranks)


def check_urls(config: Config, *, needs_data: bool, split: str | None = None) -> None:
    """Raise ConfigError if an address that a job of ModelArts needs is missing, or if a job cannot do what is asked.

    needs_data: False for a command that also runs without data.  split: as check_inputs takes it.
    """
    for key in ("data_url", "train_url") if needs_data else ("train_url",):
        if getattr(config, key) is None:
            raise ConfigError(f"--{key} is missing; a job of ModelArts needs it")
    if split == "test" and config.fit_calibration:
        raise ConfigError(
            "--fit_calibration=True: a job of ModelArts does not keep the checkpoint folder with the recalibration; "
            "fit it outside of a job"
        )


def _check_path(config, key):
    path, expected = getattr(config, key), read_help()[key].meaning
    if path is None:
        raise ConfigError(f"--{key} is missing; expected: {expected}")
    path = config.ckpt_path if path == AUTO else path
    for each in listed_paths(path) if key in CHECKPOINT_LISTS else [path]:
        if not os.path.exists(each):
            raise ConfigError(f"--{key}={each}: no such file or folder; expected: {expected}")


def _check_data(data, config, split, ranks):
    if split == "train":
        check_sink_size(config, data.steps_per_epoch(config.batch_size, ranks))
    elif split is not None:
        data.records_per_batch(split, config.batch_size)
    if split is not None:
        data.check_field(config.by_field)
    if split == "test" and config.fit_calibration:
        data.records_per_batch("valid", config.batch_size)
