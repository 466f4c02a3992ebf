# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/serving.md, in a new environment that holds requirements-serve.txt alone, and of the README."""

import json
import os
import subprocess
import sys

import pytest

from src.package import load_model
from tests.conftest import ROOT, make_rows
from tests.documents import code_blocks
from tests.repository import copy_repository
from tests.serving import Server, serving_python

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def clone(packages, tmp_path_factory):
    """The files of the repository, without its environments, and a model package."""
    folder = tmp_path_factory.mktemp("clone")
    copy_repository(folder)
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "README_CN.md"])
def test_the_four_commands_of_the_readme_lead_to_a_served_prediction(name, packages, tmp_path):
    """Its second command makes the environment, as that of docs/serving.md does; here it is there already."""
    text = (ROOT / name).read_text(encoding="utf-8")
    (block,) = code_blocks(text, "sh")
    (shown,) = [content for content in code_blocks(text, "") if content.startswith('{"model_name"')]
    export, install, serve, *request = block.splitlines()
    assert install.startswith("python3 -m venv .venv-serve && ") and request
    make_files_of_the_quick_start(packages[0], tmp_path)
    run_line(export.replace("export.py", str(ROOT / "export.py")), tmp_path)
    command = serve.partition(" > serve.log")[0].replace("serve.py", str(ROOT / "serve.py"))
    command = command.replace("--port=8080", "--port=0 --grpc_port=0").split()
    with Server.run(command, tmp_path, tmp_path / "serve.log") as server:
        answer = run_line("\n".join(request).replace(":8080", f":{server.port}"), tmp_path)
    found, shown = json.loads(answer), json.loads(shown)
    assert found.pop("model_version") == server.version and shown.pop("model_version")
    rows = (tmp_path / RAW_ROWS).read_text().split("\n")[:2]
    probabilities = found["outputs"][0].pop("data")
    assert probabilities == pytest.approx(load_model(packages[0]).predict(rows), abs=1e-5)
    assert len(shown["outputs"][0].pop("data")) == 2
    assert found == shown


RAW_ROWS = "quickstart/generated/data/origin_data/train.txt"


def make_files_of_the_quick_start(package, folder):
    """Make a checkpoint and raw rows where the quick start leaves them, and both environments."""
    (folder / RAW_ROWS).parent.mkdir(parents=True)
    (folder / RAW_ROWS).write_text(make_rows(9, 3, 4, seed=3))
    (folder / "quickstart/generated/checkpoint").symlink_to(f"{package}-checkpoint")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / ".venv-serve").symlink_to(serving_python().parent.parent)


def run_line(command, folder):
    """Run a command of a shell; return what it prints."""
    finished = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
