# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.package.runtime import MindIRNetwork, choose_runtime
from tests.conftest import ROOT
from tests.packages import checkpoint_of, golden_lines, hide

TOLERANCE = 1e-5  # between two runtimes, for random weights that are larger than trained ones
# Scores lines as a part of a program that uses MindSpore in its own way, before and after.
PROGRAM = """
import importlib.util, sys
import mindspore as ms
path, hidden, start, *lines = sys.argv[1:]
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == hidden else find(name, *rest)
from src.distributed.device import select_device
from src.package import load_model
if start == "operator":
    ms.ops.ones(3) + 1
elif start == "device":
    ms.set_device("CPU")
constructed = []
def watch(frame, event, _):
    if event == "call" and frame.f_code.co_name == "construct":
        constructed.append(frame)
model = load_model(path)
sys.setprofile(watch)
model.predict(lines)
sys.setprofile(None)
assert not constructed, "operators run one by one"
assert ms.get_context("mode") == ms.PYNATIVE_MODE
if start != "operator":
    select_device("CPU", 0)
"""


@pytest.mark.parametrize(("hidden", "expected"), [((), "onnxruntime"), (("onnxruntime",), "mindspore")])
def test_whichever_runtime_is_installed_is_used(monkeypatch, hidden, expected):
    hide(monkeypatch, *hidden)
    assert choose_runtime() == expected


def test_without_a_runtime_the_message_names_one(monkeypatch):
    hide(monkeypatch, "onnxruntime", "mindspore")
    with pytest.raises(UserError, match="pip install onnxruntime"):
        choose_runtime()


def test_mindspore_alone_scores_a_package(packages, dataset, monkeypatch):
    lines = golden_lines(DatasetMeta.load(dataset))
    expected = load_model(packages[1]).predict(lines)
    hide(monkeypatch, "onnxruntime")
    model = load_model(packages[1])
    assert isinstance(model.network, MindIRNetwork)
    np.testing.assert_allclose(model.predict(lines), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("start", ["", "operator", "device"])
@pytest.mark.parametrize("kind", ["checkpoint", "package"])
def test_it_scores_in_a_graph_and_leaves_mindspore_to_the_rest_of_a_program(packages, dataset, kind, start):
    path = packages[1] if kind == "package" else checkpoint_of(packages[1])
    lines = golden_lines(DatasetMeta.load(dataset))
    command = [sys.executable, "-c", PROGRAM, path, "onnxruntime", start, *lines]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_a_checkpoint_without_mindspore_is_refused_in_one_line(packages, monkeypatch):
    hide(monkeypatch, "mindspore")
    with pytest.raises(UserError, match="a checkpoint needs MindSpore; export it as a package"):
        load_model(checkpoint_of(packages[1]))
