# SPDX-License-Identifier: Apache-2.0
"""Copies of the repository, in which its scripts run without leaving anything in the repository itself."""

import pathlib
import shutil
import subprocess

from tests.conftest import ROOT

QUICK_START = "bash scripts/run_quickstart.sh"


def copy_repository(folder: pathlib.Path) -> None:
    """Copy the files that git knows to a folder."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
