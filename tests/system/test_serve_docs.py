# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/serving.md, in a new environment that holds requirements-serve.txt alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.documents import code_blocks
from tests.serving import Server

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clone(packages, tmp_path_factory):
    """The files of the repository, without its environments, and a model package."""
    folder = tmp_path_factory.mktemp("clone")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "model").symlink_to(packages[0])
    return folder


@pytest.mark.slow
def test_the_environment_is_made_and_serves(clone):
    (block,) = code_blocks(TEXT, "bash")
    *installing, serving = block.splitlines()
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if ".venv" not in part)
    for command in installing:
        subprocess.run(["bash", "-c", command], cwd=clone, env={**os.environ, "PATH": path}, check=True)
    command = [*serving.replace("--port=8080", "--port=0").split(), "--grpc_port=0"]
    with Server.run(command, clone, clone / "log") as server:
        assert_printed_as_documented(server, clone)


def test_the_example_prints_what_the_document_shows(packages, tmp_path):
    (tmp_path / "model").symlink_to(packages[0])
    with Server(packages[0], tmp_path / "log") as server:
        assert_printed_as_documented(server, tmp_path)


def assert_printed_as_documented(server, folder):
    """Run the client of the document; its output has the form of the one that is shown, the model being another."""
    (client,) = code_blocks(TEXT, "python")
    program = client.replace(":8080", f":{server.port}")
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    found, shown = json.loads(printed), json.loads(code_blocks(TEXT, "")[0])
    assert found["model_version"] == server.version
    for content in (found, shown):
        del content["model_version"]
        assert len(content["outputs"][0].pop("data")) == 2
    assert found == shown
