# SPDX-License-Identifier: Apache-2.0
"""Settings: default_config.yaml, then the file of --config_path, then the flags."""

import argparse
import dataclasses
import difflib
import math
import pathlib
import re

import yaml

from src.common.errors import ConfigError

DEFAULTS_PATH = pathlib.Path(__file__).resolve().parent.parent / "default_config.yaml"
AUTO, NONE = "auto", "none"
TRUE_WORDS, FALSE_WORDS = ("true", "1"), ("false", "0")
MODELARTS_DEFAULTS = {"data_path": "/cache/data"}  # that differ from those of default_config.yaml
REPEATABLE = ("callback",)  # each flag, or item of a YAML list, adds a text to a tuple; empty if it is "none"
OPTIONAL = (
    "output_dir",
    "data_url",
    "train_url",
    "checkpoint_url",
    "by_field",
    "ckpt_file",
    "report_path",
    "tensorboard_dir",
)  # None if it is "none"
CHOICES = {
    "device_target": (AUTO, "Ascend", "GPU", "CPU"),
    "convert_dtype": (AUTO, "True", "False"),
    "dense_encoding": ("max", "log", "bucket", "log+bucket"),
    "file_format": ("MINDIR", "ONNX", "AIR"),
    "mindir_version": (1, 3),
    "l2_on": ("tables", "batch"),
    "negative_label": (0, -1),
    "lr_scaling": ("none", "linear", "sqrt"),
    "lr_schedule": ("constant", "plateau", "one_cycle"),
}
RANGES = {
    "device_id": (0, math.inf),
    "seed": (0, 2**31 - 1),
    "dense_dim": (0, 1000),
    "slot_dim": (0, 1000),
    "threshold": (0, math.inf),
    "max_vocab_size": (0, math.inf),
    "train_line_count": (0, math.inf),
    "line_per_sample": (1, 100_000),
    "valid_ratio": (0, 0.5),
    "test_ratio": (0, 0.5),
    "split_seed": (0, 2**63 - 1),
    "max_bad_line_ratio": (0, 1),
    "memory_limit": (0, math.inf),
    "batch_size": (0, math.inf),
    "embedding_size": (1, math.inf),
    "hidden_sizes": (1, math.inf),
    "keep_prob": (0, 1),
    "embedding_keep_prob": (0, 1),
    "train_epochs": (1, math.inf),
    "learning_rate": (0, math.inf),
    "lr_decay_factor": (1, math.inf),
    "warmup_ratio": (0, 1),
    "clip_norm": (0, math.inf),
    "ema_decay": (0, 0.99999),
    "epsilon": (0, math.inf),
    "l2_coef": (0, math.inf),
    "log_every": (1, math.inf),
    "eval_every_steps": (0, math.inf),
    "early_stop_patience": (0, math.inf),
    "save_checkpoint_steps": (0, math.inf),
    "save_checkpoint_seconds": (0, math.inf),
    "keep_checkpoint_max": (0, math.inf),
}
NEVER_ZERO = ("memory_limit", "keep_prob", "embedding_keep_prob", "learning_rate", "epsilon")


def load_config(argv=None, description=None):
    """Return the settings as a frozen dataclass with one field for each key of default_config.yaml.

    argv: flags as in sys.argv[1:], the default.  ConfigErrors name the file or flag, the rule and the way out.
    """
    defaults = _read_yaml(DEFAULTS_PATH)
    flags, unknown = _parse_flags(defaults, argv, description)
    settings = {}
    if "config_path" in flags:
        path = flags.pop("config_path")
        settings.update(_check(defaults, _read_yaml(path), lambda key: f"{path}: {key}"))
    settings.update(_check(defaults, flags, lambda key: f"--{key}"))
    if settings.get("enable_modelarts"):
        settings = MODELARTS_DEFAULTS | settings
        _note_unknown(unknown, defaults)
    elif unknown:
        name = unknown[0]
        raise ConfigError(f"unknown argument {name}{_suggestion(name.lstrip('-'), [*defaults, 'config_path'], '--')}")
    config_type = dataclasses.make_dataclass("Config", list(defaults), frozen=True)
    config = config_type(**{**_check(defaults, defaults, lambda key: f"{DEFAULTS_PATH}: {key}"), **settings})
    _check_columns(config)
    return config


def _check_columns(config):
    """Refuse raw rows that give no sparse field, which the network cannot do without."""
    if config.slot_dim == 0 and (config.dense_dim == 0 or "bucket" not in config.dense_encoding):
        raise ConfigError(
            f"--slot_dim=0 with --dense_dim={config.dense_dim} and --dense_encoding={config.dense_encoding} leaves no "
            "sparse field: without categories there must be integers and --dense_encoding=bucket or log+bucket"
        )


def _read_yaml(path):
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config_path={path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected lines of the form 'key: value'")
    return content


def _parse_flags(defaults, argv, description):
    """Return the flags that were given, by key, as text, and the names of those that are unknown."""
    parser = _Parser(
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=120),
    )
    parser.add_argument("--config_path", metavar="FILE", help="YAML file of settings that differ from the defaults")
    comments = _comments(DEFAULTS_PATH)
    for key, default in defaults.items():
        parser.add_argument(
            f"--{key}",
            metavar=type(default).__name__.upper(),
            action="append" if key in REPEATABLE else "store",
            help=f"{comments[key]} (default: {default})".replace("%", "%%"),
        )
    flags, unknown = parser.parse_known_args(argv)
    return vars(flags), [text.partition("=")[0] for text in unknown]


def _note_unknown(unknown, defaults):
    """Say which flags are ignored: a platform adds some of its own.  Their values may be secrets."""
    names = [name + (f" (did you mean --{near[0]}?)" if (near := _nearest(name, defaults)) else "")
             for name in unknown if name.startswith("--")]  # fmt: skip
    if names:
        print(f"ignored, not settings of this script: {', '.join(names)}")


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise ConfigError(f"{message}; --help lists the flags")


def _comments(path):
    """Return what stands behind the # of each key."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    matches = (re.match(r"(\w+):.*?\s#\s*(.+)", line) for line in lines)
    return {match[1]: match[2] for match in matches if match}


def _check(defaults, settings, place):
    """Return the settings in the types of their defaults.  place(key) says in a message where the value stands."""
    checked = {}
    for key, value in settings.items():
        if key not in defaults:
            raise ConfigError(f"{place(key)}: unknown key{_suggestion(str(key), defaults)}")
        try:
            if key in REPEATABLE:
                texts = value if isinstance(value, list) else [value]
                checked[key] = tuple(_convert(text, defaults[key]) for text in texts if text != NONE)
                continue
            checked[key] = _convert(value, defaults[key])
            if key in OPTIONAL and checked[key] == NONE:
                checked[key] = None
            _check_range(key, checked[key])
        except ValueError as error:
            raise ConfigError(f"{place(key)}={value}: {error}") from None
    return checked


def _nearest(name, known):
    return difflib.get_close_matches(name.lstrip("-"), known, n=1, cutoff=0.8)


def _suggestion(name, known, prefix=""):
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else "; --help lists the known ones"


def _convert(value, default):
    """Return `value`, text or parsed YAML, in the type of `default`; a list becomes a tuple of ints."""
    if isinstance(default, bool):
        return _to_bool(value)
    if isinstance(default, int):
        return _to_int(value)
    if isinstance(default, float):
        return _to_float(value)
    if isinstance(default, list):
        return _to_ints(value)
    if value is None or isinstance(value, (dict, list)) or not str(value).strip():
        raise ValueError("must be text that is not empty")
    return str(value)


def _to_bool(value):
    word = str(value).lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        raise ValueError("must be True or False")
    return word in TRUE_WORDS


def _to_int(value):
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]+", str(value).strip()):
        raise ValueError("must be a whole number")
    return int(value)


def _to_float(value):
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("must be a number")
    return number


def _to_ints(value):
    items = value if isinstance(value, list) else [item for item in str(value).strip("[] ").split(",") if item]
    if not items:
        raise ValueError("must be a list of whole numbers, such as 400,400")
    return tuple(_to_int(item) for item in items)


def _check_range(key, value):
    if key in CHOICES and value not in CHOICES[key]:
        raise ValueError(f"must be one of {', '.join(map(str, CHOICES[key]))}")
    if key in RANGES:
        least, largest = RANGES[key]
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(least <= number <= largest for number in numbers):
            raise ValueError(f"must be at least {least}" + (f" and at most {largest}" if largest < math.inf else ""))
    if key in NEVER_ZERO and value == 0:
        raise ValueError("must be more than 0")
