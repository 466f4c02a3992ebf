# SPDX-License-Identifier: Apache-2.0
"""The versions on which the bytes of a result depend: those of a worker must be those of the client."""

import functools
import hashlib
import importlib.metadata
import pathlib
import sys

PACKAGES = ("polars", "numpy", "mindspore")
SOURCE = pathlib.Path(__file__).resolve().parents[2]  # the folder src
CODE_DIGITS = 12


@functools.cache
def own_versions() -> dict[str, str]:
    """Return the versions of this process by name, and a digest of the code of this repository."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.rglob("*.py")):
        digest.update(f"{path.relative_to(SOURCE)}\n".encode() + path.read_bytes())
    python = ".".join(map(str, sys.version_info[:2]))
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"Python": python, **packages, "code of this repository": digest.hexdigest()[:CODE_DIGITS]}


def describe_differences(worker: dict[str, str], client: dict[str, str]) -> str:
    """Return what differs between the versions of a worker and those of the client; an empty text if nothing does."""
    return ", ".join(
        f"{name} {worker.get(name)} instead of {version}"
        for name, version in client.items()
        if worker.get(name) != version
    )
