# SPDX-License-Identifier: Apache-2.0
"""The architecture, read from the imports: which packages may import which, and what importing must not do."""

import ast
import graphlib
import re
import subprocess
import sys

from tests.conftest import ROOT


def dotted_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted_name(path): path for path in (ROOT / "src").rglob("*.py")}
ENTRY_POINTS = {
    "src.preprocess_data", "src.criteo_like", "src.config_reference", "src.report.quickstart", "src.distributed.launch",
    "src.self_test.__main__", "src.synthetic_logs.__main__", "src.infer_schema",
}  # fmt: skip
SCRIPTS = {"train", "tune", "eval", "export", "preprocess", "postprocess", "mindspore_hub_conf", "predict", "serve"}
# From the bottom to the top: a module imports only from its own layer and from those above this line of it.
LAYERS = [
    {"src.common"},
    {
        "src.config",
        "src.input_checks",
        "src.dataset_meta",
        "src.data_identity",
        "src.deepfm",
        "src.network",
        "src.cpu_kernels",
        "src.distributed",
    },
    {"src.dataset", "src.preprocessing"},
    {
        "src.evaluation",
        "src.checkpoint",
        "src.checkpoint_average",
        "src.checkpoint_parts",
        "src.click_model",
        "src.random_columns",
        "src.generator_command",
    },
    {"src.package"},
    {"src.export", "src.training", "src.callback", "src.criteo_like", "src.synthetic_logs", "src.scoring"},
    {"src.report", "src.modelarts", "src.serving"},
    {"src.preprocess_data", "src.infer_schema", "src.config_reference", "src.self_test", "src.tuning"},
]
LAYER_OF = {unit: number for number, units in enumerate(LAYERS) for unit in units}


def imports_of(path):
    """Return the modules of this project that a file imports anywhere, by full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            modules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            names.update(modules or {node.module})
    return {name for name in names if name in MODULES or name.split(".")[0] in SCRIPTS}


def unit_of(name):
    """Return the package of src that holds a module, or the module itself if it is in none."""
    return ".".join(name.split(".")[:2])


def unit_imports():
    """Return for each unit of src the other units that it imports."""
    arrows = {}
    for name, path in MODULES.items():
        if name != "src":
            arrows.setdefault(unit_of(name), set()).update(map(unit_of, imports_of(path)))
    return {unit: targets - {unit, "src"} for unit, targets in arrows.items()}


def test_every_unit_has_a_layer_and_every_layer_only_units_that_exist():
    assert LAYER_OF.keys() == unit_imports().keys()
    assert len(MODULES) > 60  # the packages are seen, not only the modules at the top


def test_no_import_goes_up():
    upward = {
        (unit, target)
        for unit, targets in unit_imports().items()
        for target in targets
        if LAYER_OF[target] > LAYER_OF[unit]
    }
    assert not upward


def test_neither_packages_nor_modules_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(unit_imports()).prepare()
    graphlib.TopologicalSorter({name: imports_of(path) - {name} for name, path in MODULES.items()}).prepare()


WITHOUT_MINDSPORE = [
    "src.config",
    "src.dataset_meta",
    "src.data_identity",
    *("src.evaluation.metrics", "src.evaluation.recalibration", "src.evaluation.record"),
    *("src.evaluation.streaming_metrics", "src.preprocessing.encoder", "src.preprocessing.pipeline"),
    *("src.package", "src.package.explanation", "src.scoring.scoring", "src.scoring.summary"),
    *("src.tuning.search", "src.tuning.page", "src.tuning.recipe_file"),
    *sorted(name for name in MODULES if name.startswith("src.common.")),
]
IMPORTED_ONE_BY_ONE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "mindspore" in sys.modules:
        sys.exit(name)
"""


def test_these_need_no_mindspore():
    command = [sys.executable, "-c", IMPORTED_ONE_BY_ONE, *WITHOUT_MINDSPORE]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_network_imports_nothing_of_ours_but_its_parts():
    assert {unit_of(name) for name in imports_of(MODULES["src.deepfm"])} == {"src.network"}
    parts = {name: path for name, path in MODULES.items() if name.startswith("src.network.")}
    imported = {unit_of(target) for path in parts.values() for target in imports_of(path)}
    for_tables, for_bfloat16 = {"src.common", "src.distributed"}, {"src.cpu_kernels"}
    assert imported == {"src.network", *for_tables, *for_bfloat16}


def test_only_entry_points_load_the_config():
    users = {name for name, path in MODULES.items() if re.search(r"\bload_config\b", path.read_text())}
    assert users - ENTRY_POINTS == {"src.config", "src.distributed.entry_point"}


def test_nothing_in_src_imports_an_entry_point():
    for name, path in MODULES.items():
        if name not in ENTRY_POINTS:
            imported = imports_of(path)
            assert not imported & ENTRY_POINTS, name
            assert not {target.split(".")[0] for target in imported} & SCRIPTS, name


def test_importing_does_nothing():
    # Those of the server have an environment of their own, and the same test in it: test_serve_operation.py.
    modules = [name for name in sorted(MODULES) if unit_of(name) != "src.serving"]
    code = "import sys; sys.argv = ['x', '--no_such_flag']; import " + ", ".join(modules)
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
