# SPDX-License-Identifier: Apache-2.0
"""A stand-in for moxing: obs://bucket/key is a file below $STORE, and each call is a line of $CALLS.

A test copies this file as moxing.py.
"""

import functools
import os
import pathlib
import shutil
import types


def _path(url):
    return pathlib.Path(url.replace("obs://", os.environ["STORE"] + "/"))


def _recorded(function):
    @functools.wraps(function)
    def call(*arguments, **named):
        with open(os.environ["CALLS"], "a") as calls:
            calls.write(f"{function.__name__} {' '.join(map(str, arguments))}\n")
        return function(*arguments, **named)

    return call


@_recorded
def exists(url):
    return _path(url).exists()


@_recorded
def is_directory(url):
    return _path(url).is_dir()


@_recorded
def get_size(url, recursive=False):
    return _path(url).stat().st_size


@_recorded
def remove(url, recursive=False):
    _path(url).unlink()


@_recorded
def list_directory(url, recursive=False):
    return [path.relative_to(_path(url)).as_posix() + "/" * path.is_dir() for path in _path(url).rglob("*")]


@_recorded
def copy(source, target):
    _path(target).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_path(source), _path(target))


file = types.SimpleNamespace(
    exists=exists, is_directory=is_directory, get_size=get_size, remove=remove, list_directory=list_directory, copy=copy
)
