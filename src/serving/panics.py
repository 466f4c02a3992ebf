# SPDX-License-Identifier: Apache-2.0
"""Panics of polars as ordinary errors: they are no Exception, so that they would end the server's own tasks."""

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def without_panics(function: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function returns; RuntimeError in place of what is no Exception."""
    try:
        return function(*arguments)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(repr(error)) from error
