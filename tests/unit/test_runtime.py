# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.package.runtime import MindIRNetwork, choose_runtime
from tests.packages import checkpoint_of, golden_lines, hide

TOLERANCE = 1e-5  # between two runtimes, for random weights that are larger than trained ones


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


def test_a_checkpoint_without_mindspore_is_refused_in_one_line(packages, monkeypatch):
    hide(monkeypatch, "mindspore")
    with pytest.raises(UserError, match="a checkpoint needs MindSpore; export it as a package"):
        load_model(checkpoint_of(packages[1]))
