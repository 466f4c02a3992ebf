# SPDX-License-Identifier: Apache-2.0
"""The arrows of the design, read from the imports."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

MODULES = {path.stem: path for path in (ROOT / "src").glob("*.py") if path.stem != "__init__"}
ENTRY_POINTS = {"preprocess_data", "criteo_like", "quickstart"}


def imports_of(path):
    """Return the modules that a file imports anywhere, by full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


@pytest.mark.parametrize(
    "name",
    [
        "config",
        "features",
        "dataset_meta",
        "metrics",
        "raw_rows",
        "splitmix",
        "errors",
        "console",
        "locks",
        "output_paths",
        "memory_estimate",
        "memory_limits",
    ],
)
def test_these_need_no_mindspore(name):
    code = f"import sys, src.{name}; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_network_imports_nothing_of_ours_but_its_dropout():
    assert {name for name in imports_of(MODULES["deepfm"]) if name.startswith("src")} == {"src.dropout"}
    assert not {name for name in imports_of(MODULES["dropout"]) if name.startswith("src")}


def test_only_entry_points_import_the_config():
    users = {name for name, path in MODULES.items() if "src.config" in imports_of(path)}
    assert users <= ENTRY_POINTS


def test_nothing_in_src_imports_an_entry_point():
    for name, path in MODULES.items():
        entries = {f"src.{entry}" for entry in ENTRY_POINTS} | {"train", "eval"}
        if name not in ENTRY_POINTS:
            assert not imports_of(path) & entries, name


def test_importing_does_nothing():
    code = "import sys; sys.argv = ['x', '--no_such_flag']; import " + ", ".join(
        f"src.{name}" for name in sorted(MODULES)
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_every_file_names_its_licence():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if name.endswith((".py", ".sh", ".yaml", ".toml")):
            assert "SPDX-License-Identifier: Apache-2.0" in "".join((ROOT / name).open().readlines()[:2]), name
