# SPDX-License-Identifier: Apache-2.0
"""The settings of all commands: default_config.yaml, then the file of --config_path, then the flags.

Config is the table of what each setting can be and what depends on it; default_config.yaml has defaults and help texts.
"""

import dataclasses
import enum
import math
import pathlib
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any

from src.common.dense_encoding import DenseEncoding
from src.common.errors import ConfigError
from src.common.flags import CONFIG_FLAG, Flag, describe_ignored, parse_flags, read_settings_file, suggestion
from src.common.values import Values

DEFAULTS_PATH = pathlib.Path(__file__).resolve().parent.parent / "default_config.yaml"
AUTO = "auto"
LR_SCALINGS = {"none": 0, "linear": 1, "sqrt": 0.5}  # power of the number of devices, by name


class Role(enum.Enum):
    """The effect of a setting; preprocessing and training decide by it whether earlier results are still of use."""

    PARSED_ROWS = "on the rows that preprocessing parses, their split and their order, hence on all of its results"
    MINDRECORD = "on the MindRecord files, but not on the parsed rows"
    RUN_IDENTITY = "on the parameters of a training and its position in the data: a resumed run must keep it"
    TRAINING = "on the course of a training: a resumed run may change it, and says so"
    FREE = "on nothing that is continued from: paths, devices, limits, formats of exported files, blocks of steps"


def setting(role: Role, **more: Any) -> Any:
    """Return a field of Config.  more: other fields of Setting."""
    return dataclasses.field(metadata={"role": role, **more})


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings, in the order of default_config.yaml."""

    device_target: str = setting(Role.FREE, choices=(AUTO, "Ascend", "GPU", "CPU"))
    device_id: int = setting(Role.FREE, at_least=0)
    seed: int = setting(Role.RUN_IDENTITY, at_least=0, at_most=2**31 - 1)

    data_path: str = setting(Role.FREE, job_default="/cache/data")
    valid_path: str | None = setting(Role.FREE)
    test_path: str | None = setting(Role.FREE)
    output_dir: str | None = setting(Role.FREE)
    schema_path: str | None = setting(Role.FREE)
    vocabulary_path: str | None = setting(Role.FREE)
    dense_dim: int = setting(Role.PARSED_ROWS, at_least=0, at_most=1000)
    slot_dim: int = setting(Role.PARSED_ROWS, at_least=0, at_most=1000)
    skip_id_convert: bool = setting(Role.PARSED_ROWS)
    negative_label: int = setting(Role.PARSED_ROWS, choices=(0, -1), unrecorded=0)
    split: str = setting(Role.PARSED_ROWS, choices=("random", "time"), unrecorded="random")
    split_seed: int = setting(Role.PARSED_ROWS, at_least=0, at_most=2**63 - 1)
    valid_ratio: float = setting(Role.PARSED_ROWS, at_least=0, at_most=0.5)
    test_ratio: float = setting(Role.PARSED_ROWS, at_least=0, at_most=1)
    negative_keep_rate: float = setting(Role.PARSED_ROWS, more_than=0, at_most=1, unrecorded=1.0)
    threshold: int = setting(Role.MINDRECORD, at_least=0)
    max_vocab_size: int = setting(Role.MINDRECORD, at_least=0)
    dense_encoding: DenseEncoding = setting(Role.MINDRECORD)  # noqa: RUF009 (it returns a field)
    line_per_sample: int = setting(Role.MINDRECORD, at_least=1, at_most=100_000)
    train_line_count: int = setting(Role.FREE, at_least=0)
    max_bad_line_ratio: float = setting(Role.FREE, at_least=0, at_most=1)
    memory_limit: float = setting(Role.FREE, more_than=0)
    scheduler: str | None = setting(Role.FREE)
    workers: int = setting(Role.FREE, at_least=0, at_most=1000)
    spill_path: str | None = setting(Role.FREE)
    overwrite: bool = setting(Role.FREE)

    dataset_path: str = setting(Role.FREE)
    batch_size: int = setting(Role.RUN_IDENTITY, at_least=0)

    embedding_size: int = setting(Role.RUN_IDENTITY, at_least=1)
    hidden_sizes: tuple[int, ...] = setting(Role.RUN_IDENTITY, at_least=1)
    keep_prob: float = setting(Role.RUN_IDENTITY, more_than=0, at_most=1)
    embedding_keep_prob: float = setting(Role.RUN_IDENTITY, more_than=0, at_most=1)
    value_statistics: bool = setting(Role.RUN_IDENTITY)

    train_epochs: int = setting(Role.TRAINING, at_least=1)
    learning_rate: float = setting(Role.TRAINING, more_than=0)
    lr_schedule: str = setting(Role.TRAINING, choices=("constant", "plateau", "one_cycle"))
    lr_scaling: str = setting(Role.TRAINING, choices=tuple(LR_SCALINGS))
    lr_decay_factor: float = setting(Role.TRAINING, at_least=1)
    warmup_ratio: float = setting(Role.TRAINING, at_least=0, at_most=1)
    embedding_learning_rate: float = setting(Role.TRAINING, at_least=0)
    clip_norm: float = setting(Role.TRAINING, at_least=0)
    cowclip_ratio: float = setting(Role.TRAINING, at_least=0)
    cowclip_bound: float = setting(Role.TRAINING, more_than=0)
    epsilon: float = setting(Role.TRAINING, more_than=0)
    l2_coef: float = setting(Role.TRAINING, at_least=0)
    l2_linear_factor: float = setting(Role.TRAINING, at_least=0)
    l2_on: str = setting(Role.TRAINING, choices=("tables", "batch"))
    ema_decay: float = setting(Role.RUN_IDENTITY, at_least=0, at_most=0.99999)
    convert_dtype: str = setting(Role.TRAINING, choices=(AUTO, "True", "False", "bfloat16"))
    jit_level: str = setting(Role.TRAINING, choices=(AUTO, "O0", "O1"))
    shard_embedding: bool = setting(Role.FREE)
    callback: tuple[str, ...] = setting(Role.TRAINING)
    ckpt_path: str = setting(Role.FREE, output_of=("train",))
    resume: bool = setting(Role.FREE)
    save_checkpoint_steps: int = setting(Role.TRAINING, at_least=0)
    save_checkpoint_seconds: int = setting(Role.TRAINING, at_least=0)
    keep_checkpoint_max: int = setting(Role.TRAINING, at_least=0)
    loss_file_name: str = setting(Role.FREE, output_of=("train",))
    log_every: int = setting(Role.TRAINING, at_least=1)
    sink_size: int = setting(Role.FREE, at_least=0)
    do_eval: bool = setting(Role.TRAINING)
    eval_every_steps: int = setting(Role.TRAINING, at_least=0)
    early_stop_patience: int = setting(Role.TRAINING, at_least=0)
    eval_file_name: str = setting(Role.FREE, output_of=("train", "eval"))
    report_path: str | None = setting(Role.FREE, output_of=("train", "eval"))
    tensorboard_dir: str | None = setting(Role.FREE, output_of=("train",))

    minutes: float = setting(Role.FREE, more_than=0)
    trials: int = setting(Role.FREE, at_least=0)
    tune_path: str = setting(Role.FREE, output_of=("tune",))

    checkpoint_path: str = setting(Role.FREE)
    by_field: str | None = setting(Role.FREE)
    importance_rows: int = setting(Role.FREE, at_least=0)
    fit_calibration: bool = setting(Role.FREE)
    predictions_path: str | None = setting(Role.FREE, output_of=("eval",))

    ckpt_file: str | None = setting(Role.FREE)
    file_name: str = setting(Role.FREE, output_of=("export",))
    file_format: str = setting(Role.FREE, choices=("MINDIR", "ONNX", "AIR", "PACKAGE"))
    mindir_version: int = setting(Role.FREE, choices=(1, 3))
    result_path: str = setting(Role.FREE)
    label_path: str = setting(Role.FREE)

    enable_modelarts: bool = setting(Role.FREE)
    data_url: str | None = setting(Role.FREE)
    train_url: str | None = setting(Role.FREE)
    checkpoint_url: str | None = setting(Role.FREE)
    output_path: str = setting(Role.FREE)
    load_path: str = setting(Role.FREE)

    @property
    def block_size(self) -> int:
        """The number of steps that the host starts together."""
        return max(self.sink_size, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting(Values):
    """The values of a field of Config, and its part in the program.

    output_of: the commands, without .py, that write to the path that it names.  job_default: its default in a job of
    ModelArts, if that is another one.  unrecorded: the value with which it is left out of the settings that are stored
    with a result: results from before the setting existed stay valid.
    """

    role: Role
    output_of: tuple[str, ...] = ()
    job_default: object = None
    unrecorded: object = None


SETTINGS = {
    field.name: Setting.annotated(annotation, **field.metadata)
    for field, annotation in zip(dataclasses.fields(Config), typing.get_type_hints(Config).values())
}


def keys_of(*roles: Role) -> tuple[str, ...]:
    """Return the keys of the settings with one of these roles."""
    return tuple(key for key, each in SETTINGS.items() if each.role in roles)


def outputs_of(command: str) -> tuple[str, ...]:
    """Return the keys of the settings that name what a command writes.  command: as "train"."""
    return tuple(key for key, each in SETTINGS.items() if command in each.output_of)


def load_config(argv: Sequence[str] | None = None, description: str | None = None) -> Config:
    """Return the settings that the flags ask for.

    argv: as sys.argv[1:], which is read only once if argv is None, as the file of --config_path may be a pipe.
    Raises ConfigError, with the file or flag, the rule and the fix.
    """
    return _loaded(argv, description)[0]


def given_flags(argv: Sequence[str] | None = None) -> frozenset[str]:
    """Return the keys of the settings that flags give, not --config_path or the defaults; for argv see load_config."""
    return _loaded(argv, None)[1]


_command_line: list[tuple[Config, frozenset[str]]] = []  # the results for sys.argv, once it is read


def _loaded(argv, description):
    """Return the Config and the keys of the flags."""
    if argv is not None:
        return _load(argv, description)
    if not _command_line:
        _command_line.append(_load(None, description))
    return _command_line[0]


def _load(argv, description):
    defaults = _parse(read_settings_file(DEFAULTS_PATH), lambda key: f"{DEFAULTS_PATH}: {key}")
    if missing := [key for key in SETTINGS if key not in defaults]:
        raise ConfigError(f"{DEFAULTS_PATH} has no line for {missing[0]}; it must have one for every setting")
    flags, unknown = parse_flags(read_help(), argv, description)
    path = flags.pop(CONFIG_FLAG, None)
    given = {} if path is None else _parse(read_settings_file(path), lambda key: f"{path}: {key}")
    given |= _parse(flags, lambda key: f"--{key}")
    if {**defaults, **given}["enable_modelarts"]:
        defaults |= {key: each.job_default for key, each in SETTINGS.items() if each.job_default is not None}
        if ignored := describe_ignored(unknown, SETTINGS):
            print(ignored)
    elif unknown:
        hint = suggestion(unknown[0].lstrip("-"), [*SETTINGS, CONFIG_FLAG], "--")
        raise ConfigError(f"unknown argument {unknown[0]}{hint}")
    config = Config(**{**defaults, **given})
    _check_columns(config)
    _check_callbacks(config)
    _check_workers(config)
    check_sink_size(config)
    return config, frozenset(flags)


def _parse(content: dict[Any, object], source: Callable[[object], str]) -> dict[str, object]:
    """Return settings in their types.  source(key) says in a message where the value comes from."""
    parsed = {}
    for key, value in content.items():
        if key not in SETTINGS:
            raise ConfigError(f"{source(key)}: unknown key{suggestion(str(key), SETTINGS)}")
        try:
            parsed[key] = SETTINGS[key].parse(value)
        except ValueError as error:
            raise ConfigError(f"{source(key)}={value}: {error}") from None
    return parsed


def read_help() -> dict[str, Flag]:
    """Return the help on each setting, from default_config.yaml: the text behind its key and the heading above it."""
    flags, group = {}, ""
    for line in DEFAULTS_PATH.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            group = line.lstrip("# ")
        elif (match := re.match(r"(\w+): *(.*?)(?:\s+# *(.*))?$", line)) and match[1] in SETTINGS:
            key, default, meaning = match.groups("")
            if (job_default := SETTINGS[key].job_default) is not None:
                meaning += f"; in a job by default {job_default}"
            flags[key] = Flag(group, default, meaning, SETTINGS[key])
    return flags


def _check_columns(config):
    """Refuse raw rows without a sparse field, which the network needs."""
    if config.schema_path is not None or config.vocabulary_path is not None:
        return  # whose columns, or encoding, are not known yet
    if config.slot_dim == 0 and (config.dense_dim == 0 or not config.dense_encoding.has_buckets):
        raise ConfigError(
            f"--slot_dim=0 with --dense_dim={config.dense_dim} and --dense_encoding={config.dense_encoding} leaves no "
            "sparse field: without categories there must be integers and --dense_encoding=log+bin or bin"
        )


def _check_workers(config):
    if config.scheduler is not None and config.workers:
        raise ConfigError(
            f"--workers={config.workers} starts workers on this machine, --scheduler={config.scheduler} has its own; "
            "leave out one of them"
        )
    if config.spill_path is not None and config.scheduler is None and not config.workers:
        raise ConfigError(f"--spill_path={config.spill_path} is for preprocessing with --scheduler or --workers")


def _check_callbacks(config):
    for name in config.callback:
        if not re.fullmatch(r"[^:\s]+:\w+", name):
            raise ConfigError(f"--callback={name}: must have the form package.module:Name")


def check_sink_size(config: Config, steps_per_epoch: int = 0, resumed_step: int = 0) -> None:
    """Raise ConfigError unless all that comes after a number of steps comes at the end of a block of steps.

    steps_per_epoch: 0 if it is not known yet.  resumed_step: that of the checkpoint from which training starts.
    """
    keys = ("log_every", "eval_every_steps", "save_checkpoint_steps")
    multiples = {f"--{key}={getattr(config, key)}": getattr(config, key) for key in keys}
    multiples[f"the number of steps per epoch, {steps_per_epoch},"] = steps_per_epoch
    multiples[f"the step of the checkpoint, {resumed_step},"] = resumed_step
    for name, steps in multiples.items():
        if steps % config.block_size:
            largest = math.gcd(*multiples.values())
            possible = ", ".join(str(size) for size in range(1, largest + 1) if largest % size == 0)
            raise ConfigError(
                f"--sink_size={config.sink_size}: {name} must be a multiple of it; here it can be {possible}"
            )
