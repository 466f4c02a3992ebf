# SPDX-License-Identifier: Apache-2.0
"""scripts/debian.sh, with an apt-get that only writes down how it is called."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.processes import assert_refused

APT_GET = """#!/bin/sh
echo "$DEBIAN_FRONTEND" "$@" >> "$(dirname "$0")/calls"
"""


def run_function(call, path):
    """Call a function of the script where the only programs are those of a folder."""
    script = f'set -euo pipefail; source "$1/scripts/debian.sh"; {call}'
    command = [shutil.which("bash"), "-c", script, "bash", ROOT]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


@pytest.fixture
def tools(tmp_path):
    """A folder of programs with the tools that the script itself needs."""
    for name in ("dirname", "sh"):
        (tmp_path / name).symlink_to(shutil.which(name))
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root installs packages")
def test_the_lists_are_updated_before_packages_are_installed_without_questions(tools):
    (tools / "apt-get").write_text(APT_GET)
    (tools / "apt-get").chmod(0o755)
    finished = run_function("install_packages cmake g++", tools)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "installing cmake g++\n", "")
    update, install = (tools / "calls").read_text().splitlines()
    assert update.split()[0] == "update"
    assert install == "noninteractive install --yes --quiet=2 --no-install-recommends cmake g++"


def test_where_packages_cannot_be_installed_the_command_is_named(tools):
    assert_refused(run_function("install_packages cmake", tools), "on Debian and Ubuntu: apt-get install cmake")
    assert run_function("install_packages", tools).returncode == 0


def test_without_tools_all_packages_of_the_build_are_missing(tools):
    finished = run_function("missing_build_packages", tools)
    assert finished.stdout.split() == ["cmake", "make", "g++", "libssl-dev", "nlohmann-json3-dev"]
    for name in ("cmake", "make", "g++"):
        (tools / name).symlink_to(shutil.which("true"))
    assert run_function("missing_build_packages", tools).stdout == ""
