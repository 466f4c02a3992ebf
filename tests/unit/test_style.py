# SPDX-License-Identifier: Apache-2.0
"""The rules for source files that no other tool checks."""

import ast
import subprocess

from tests.conftest import ROOT

SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *ROOT.glob("*.py")])


def public_functions(node):
    """Yield the functions of a module or a class, and of the public classes in it, whose names are public."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child)
        elif isinstance(child, ast.FunctionDef) and (child.name == "__init__" or not child.name.startswith("_")):
            yield child


def lacks_hints(function):
    """Tell whether a parameter other than self and cls, or the result of a function, has no type hint."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    parameters = [each for each in parameters if each is not None and each.arg not in ("self", "cls")]
    has_result = function.returns is not None or function.name == "__init__"
    return not has_result or any(each.annotation is None for each in parameters)


def test_public_functions_have_type_hints():
    functions = [(path, each) for path in SOURCES for each in public_functions(ast.parse(path.read_text()))]
    assert len(functions) > 300  # they are found
    assert not [f"{path.relative_to(ROOT)}: {each.name}" for path, each in functions if lacks_hints(each)]


def test_every_file_names_its_licence():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        if name.endswith((".py", ".sh", ".yaml", ".toml")):
            assert "SPDX-License-Identifier: Apache-2.0" in "".join((ROOT / name).open().readlines()[:2]), name
