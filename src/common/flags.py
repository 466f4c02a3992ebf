# SPDX-License-Identifier: Apache-2.0
"""The command line of an entry point: a flag for each setting, and hints for names that do not exist."""

import argparse
import dataclasses
import difflib
import os
import pathlib
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import yaml

from src.common.errors import ConfigError
from src.common.values import INTS, Values

CONFIG_FLAG = "config_path"
METAVARS = {bool: "BOOL", int: "INT", float: "FLOAT", INTS: "INT,..."}
WIDTH = 120  # columns of --help


@dataclasses.dataclass(frozen=True)
class Flag:
    """The help on a setting.  default: as text.  group: the heading that it is below."""

    group: str
    default: str
    meaning: str
    values: Values

    def help_text(self) -> str:
        """Return the help with the default and, of numbers, the bounds."""
        return f"{self.meaning} ({'; '.join(filter(None, [f'default: {self.default}', self.values.bounds()]))})"


def parse_flags(
    flags: dict[str, Flag], argv: Sequence[str] | None, description: str | None
) -> tuple[dict[str, object], list[str]]:
    """Return the flags that were given, by key, as text, and the names of those that are unknown.

    A repeatable one is a list of texts.  argv: None for sys.argv[1:].  --help prints all flags and exits.
    """
    parser = Parser(
        usage=f"%(prog)s [--{CONFIG_FLAG}=FILE] [--KEY=VALUE ...]",
        description=description,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=28, width=WIDTH),
    )
    parser.add_argument(
        f"--{CONFIG_FLAG}", metavar="FILE", help="YAML file with settings that differ from the defaults"
    )
    groups = {flag.group: parser.add_argument_group(flag.group) for flag in flags.values()}
    for key, flag in flags.items():
        groups[flag.group].add_argument(
            f"--{key}",
            action="append" if flag.values.is_repeatable else "store",
            metavar=METAVARS.get(flag.values.value_type, "TEXT"),
            help=flag.help_text().replace("%", "%%"),
        )
    given, unknown = parser.parse_known_args(argv)
    return vars(given), [text.partition("=")[0] for text in unknown]


def this_command() -> str:
    """Return the command that runs, as one would type it."""
    return shlex.join(["python", *sys.argv])


def read_settings_file(path: str | os.PathLike) -> dict:
    """Return the content of a YAML file of settings; ConfigError if it cannot be read or holds no keys."""
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--{CONFIG_FLAG}={path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected lines of the form 'key: value'")
    return content


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError on a mistake, so that it ends in one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists the flags")


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint for an unknown name, to be appended to a message."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else "; --help lists the known ones"


def describe_ignored(unknown: list[str], known: Iterable[str]) -> str:
    """Return in one line which flags a job ignores, since a platform adds its own; "" if there are none.

    It leaves out their values, which may be secrets.
    """
    names = []
    for name in unknown:
        if name.startswith("--"):
            nearest = difflib.get_close_matches(name.lstrip("-"), list(known), n=1, cutoff=0.8)
            names.append(f"{name} (did you mean --{nearest[0]}?)" if nearest else name)
    return f"ignored, not settings of this script: {', '.join(names)}" if names else ""
