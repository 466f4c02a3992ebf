# SPDX-License-Identifier: Apache-2.0
"""The callbacks that --callback names."""

import importlib
import os
import sys
from collections.abc import Sequence

import mindspore.train

from src.common.errors import UserError


def load_callbacks(names: Sequence[str]) -> list[mindspore.train.Callback]:
    """Import and construct callbacks.

    names: package.module:Name each; Name is a class or a function that without arguments returns a Callback.  Modules
    may be in the current folder.  Raises UserError if a name is not of that kind.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # at the end, so that no file there takes the place of another module
    return [_load(name) for name in names]


def _load(entry):
    module_name, _, name = entry.partition(":")
    if not module_name or not name:
        raise UserError(f"--callback={entry}: must have the form package.module:Name")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(f"--callback={entry}: cannot import {module_name}: {_describe(error)}") from error
    if not hasattr(module, name):
        raise UserError(f"--callback={entry}: {module_name} has no {name}")
    try:
        callback = getattr(module, name)()
    except Exception as error:
        raise UserError(
            f"--callback={entry}: {name}() fails: {_describe(error)}. It is called without arguments; a callback that "
            "needs some can be made by a function"
        ) from error
    if not isinstance(callback, mindspore.train.Callback):
        raise UserError(
            f"--callback={entry}: {name}() is of type {type(callback).__name__}, not a Callback of src.callback or "
            "mindspore.train"
        )
    return callback


def _describe(error):
    return f"{type(error).__name__}: {error}"
