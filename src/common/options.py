# SPDX-License-Identifier: Apache-2.0
"""The command line of a program with few settings of its own: each field of a dataclass is a flag.

Training, evaluation and export share one large table of settings instead, src.config.
"""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from src.common.errors import ConfigError
from src.common.flags import CONFIG_FLAG, Flag, parse_flags, read_settings_file, suggestion
from src.common.values import NONE, Values

AnyOptions = TypeVar("AnyOptions")
REQUIRED = dataclasses.MISSING


def option(meaning: str, default: Any = REQUIRED, **values: Any) -> Any:
    """Return a field of a dataclass of options.  default: left out for a flag that must be given; values: of Values."""
    return dataclasses.field(default=default, metadata={"meaning": meaning, "values": values})


def load_options(options: type[AnyOptions], argv: Sequence[str] | None, description: str) -> AnyOptions:
    """Return the options that the flags ask for.

    options: a dataclass whose fields are made by option().  argv: None for sys.argv[1:].
    Raises ConfigError, with the flag, the rule and the fix.
    """
    flags = describe_options(options)
    given, unknown = parse_flags(flags, argv, description)
    if unknown:
        raise ConfigError(f"unknown argument {unknown[0]}{suggestion(unknown[0].lstrip('-'), flags, '--')}")
    path = given.pop(CONFIG_FLAG, None)
    parsed = _parse(read_settings_file(str(path)), flags, f"{path}: ") if path is not None else {}
    parsed |= _parse(given, flags, "--")
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if field.default is REQUIRED and field.name not in parsed:
            raise ConfigError(f"--{field.name} is missing; expected: {field.metadata['meaning']}")
    return options(**parsed)


def describe_options(options: type) -> dict[str, Flag]:
    """Return the help on each option by its name."""
    types = typing.get_type_hints(options)
    return {field.name: _flag(field, types[field.name]) for field in dataclasses.fields(options)}


def _flag(field, annotation):
    default = {REQUIRED: "must be given", None: NONE}.get(field.default, str(field.default))
    return Flag("Options", default, field.metadata["meaning"], Values.annotated(annotation, **field.metadata["values"]))


def _parse(content, flags, source):
    parsed = {}
    for key, value in content.items():
        if key not in flags:
            raise ConfigError(f"{source}{key}: unknown key{suggestion(str(key), flags)}")
        try:
            parsed[key] = flags[key].values.parse(value)
        except ValueError as error:
            raise ConfigError(f"{source}{key}={value}: {error}") from None
    return parsed
