# SPDX-License-Identifier: Apache-2.0
"""--convert_dtype=bfloat16 on a CPU: its hidden layers, their training, how they are compiled, and the refusals."""

import os
import pathlib
import shutil
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.common.errors import UserError
from src.cpu_kernels import build
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.device import set_seed
from src.network.activation import create_draws
from src.network.hidden_layer import create_hidden_layers
from src.training.train_step import build_train_step
from tests.conftest import ROOT, with_bfloat16

pytestmark = pytest.mark.usefixtures("cpu")
SIZES = (40, 33, 7)  # values of a row, and units of both layers
SEED = 5


def rounded(values):
    """Return float32 values rounded to bfloat16, the upper half of their bits, to the nearest or to an even one."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


class TwoLayers(nn.Cell):
    """The hidden layers of a network, with the weights and addends as inputs."""

    def __init__(self, dtype, has_addends, keep_prob):
        super().__init__()
        fields = (2, 3, 20) if has_addends else (2, 0, 20)
        config = DeepFMConfig(100, *fields, SIZES[1:], keep_prob=keep_prob, has_statistics=has_addends)
        self.first, self.second = create_hidden_layers("CPU", config, dtype, SEED)
        self.draw, self.has_addends = create_draws("CPU", 2, keep_prob, SEED), has_addends

    def construct(self, values, first, first_bias, second, second_bias, addend, other_addend):
        draws = self.draw(Tensor([3], ms.int64), 10) if self.training else (0, 0)
        addends = (addend, other_addend) if self.has_addends else ()
        hidden = self.first(values, first, first_bias, addends, draws[0])
        return self.second(hidden, second, second_bias, (), draws[1])


def small_integers(random, *shape, largest=1):
    return random.integers(-largest, largest + 1, shape).astype(np.float32)


@with_bfloat16
@pytest.mark.parametrize("has_addends", [False, True])
@pytest.mark.parametrize(("rows", "keep_prob"), [(10, 1.0), (90, 0.5), (2500, 0.8)])
@pytest.mark.parametrize("is_training", [False, True])
def test_integers_that_bfloat16_has_give_the_bits_of_float32(rows, keep_prob, has_addends, is_training):
    random = np.random.default_rng(1)
    values, first, second = (small_integers(random, *shape) for shape in ((rows, 40), (33, 40), (7, 33)))
    biases = [small_integers(random, units, largest=5) for units in SIZES[1:]]
    addends = [small_integers(random, rows, 33, largest=5) for _ in range(2)]
    inputs = [Tensor(each) for each in (values, first, biases[0], second, biases[1], *addends)]
    gradient = Tensor(small_integers(random, rows, 7, largest=2))
    found = []
    for dtype in (ms.float32, ms.bfloat16):
        layers = TwoLayers(dtype, has_addends, keep_prob).set_train(is_training)
        gradients = ops.GradOperation(get_all=True, sens_param=True)(layers)(*inputs, gradient)
        found.append([each.asnumpy() for each in (layers(*inputs), *gradients)])
    for expected, actual in zip(*found):
        np.testing.assert_array_equal(actual, expected)
    assert all(np.any(each) for each in found[0][: 8 if has_addends else 6])


def one_layer(values, weight, *, units):
    """Return relu(values weight^T), multiplied in bfloat16."""
    config = DeepFMConfig(100, 1, 0, values.shape[1], (units,))
    (layer,) = create_hidden_layers("CPU", config, ms.bfloat16, SEED)
    return layer(Tensor(values), Tensor(weight), ops.zeros(units), (), 0).asnumpy()


@with_bfloat16
def test_factors_are_rounded_to_bfloat16_and_sums_are_float32():
    random = np.random.default_rng(1)
    values, weight = random.random((2000, 64), np.float32), random.random((30, 64), np.float32)
    found = one_layer(values, weight, units=30)
    np.testing.assert_allclose(found, rounded(values).astype(np.float64) @ rounded(weight).T, rtol=1e-6)
    assert np.abs(found / (values.astype(np.float64) @ weight.T) - 1).max() > 1e-4  # 9 bits of each factor


@with_bfloat16
def test_each_number_is_rounded_to_the_nearest_and_nothing_hides_a_nan():
    even, odd, above = (np.uint32(bits).view(np.float32) for bits in (0x3F808000, 0x3F818000, 0x3F808001))
    values = np.array([even, odd, above, np.inf, 1e-30, np.nan, np.uint32(0x7FFFFFFF).view(np.float32)])
    found = one_layer(values.astype(np.float32)[:, None], np.ones((1, 1), np.float32), units=1)[:, 0]
    np.testing.assert_array_equal(found[:4], [1, 1.015625, 1.0078125, np.inf])
    assert found[4] == pytest.approx(1e-30, rel=2**-8)
    assert np.isnan(found[5:]).all()


@with_bfloat16
def test_training_goes_the_way_that_it_goes_in_float32():
    losses = {dtype: train(dtype) for dtype in (ms.float32, ms.bfloat16)}
    assert losses[ms.float32][-1] < losses[ms.float32][0] - 0.05
    np.testing.assert_allclose(losses[ms.bfloat16], losses[ms.float32], rtol=0.01)
    assert np.abs(losses[ms.bfloat16] - losses[ms.float32]).max() > 1e-5


def train(dtype):
    """Return the losses of thirty steps, with dropout, dense fields and an average of the weights."""
    set_seed(1)
    network = DeepFM(DeepFMConfig(1000, 8, 3, 16, (256, 128), keep_prob=0.9), 0, dtype, target="CPU")
    train_step = build_train_step(network, 5e-3, 1e-8, 1e-4, ema_decay=0.9)
    random, losses = np.random.default_rng(1), []
    for _ in range(30):
        ids, values = random.integers(0, 1000, (2000, 8)).astype(np.int32), random.random((2000, 3), np.float32)
        labels = (random.random((2000, 1)) < 0.1 + 0.5 * (ids[:, :1] < 500)).astype(np.float32)
        losses.append(train_step(*map(Tensor, (ids, values, labels))).asnumpy().item())
    return np.array(losses)


@with_bfloat16
def test_a_library_is_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = build.hidden_layer_library.__wrapped__()
    assert list(tmp_path.rglob("*")) == [tmp_path / "deepfm", compiled]
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert build.hidden_layer_library.__wrapped__() == compiled


@with_bfloat16
def test_the_reason_why_nothing_was_compiled_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "wrong.cc"
    source.write_text('#include "missing.h"\n')
    with monkeypatch.context() as patch:
        patch.setattr(build, "SOURCE", source)
        with pytest.raises(UserError, match=r"^--convert_dtype=bfloat16: \S*g\+\+ cannot compile .*missing.h: No such"):
            build.hidden_layer_library.__wrapped__()
    assert not list((tmp_path / "deepfm").iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(UserError, match=r"/dev/null/deepfm/hidden_layer-\w+\.so cannot be written: .*Not a directory"):
        build.hidden_layer_library.__wrapped__()


def environment_without(tmp_path, name):
    """Return an environment that has all programs but one, and nothing in its cache."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in map(pathlib.Path, os.environ["PATH"].split(":")):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name != name and not (programs / path.name).exists():
                (programs / path.name).symlink_to(path)
    assert shutil.which(name, path=str(programs)) is None
    return {"PATH": str(programs), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def refusal(dataset, folder, script, environment):
    """Return what a script says that is to multiply in bfloat16."""
    (folder / "a.ckpt").touch()
    flags = [f"--dataset_path={dataset}", "--batch_size=100", "--device_target=CPU", "--convert_dtype=bfloat16"]
    flags += ["--checkpoint_path=a.ckpt"] if script == "eval.py" else []
    finished = subprocess.run(
        [sys.executable, ROOT / script, *flags], cwd=folder, env=os.environ | environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 2
    return finished.stderr


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_it_is_refused_by_a_processor_without_bfloat16(script, dataset, tmp_path):
    assert refusal(dataset, tmp_path, script, {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}) == (
        "error: --convert_dtype=bfloat16: this processor has no bfloat16 (avx512_bf16 or amx_bf16); "
        "use --convert_dtype=auto\n"
    )


@with_bfloat16
def test_a_missing_compiler_is_named(dataset, tmp_path):
    assert refusal(dataset, tmp_path, "train.py", environment_without(tmp_path, "g++")) == (
        "error: --convert_dtype=bfloat16: an operator is to be compiled, and g++ is missing; on Debian and Ubuntu: "
        "apt-get install g++; or use --convert_dtype=auto\n"
    )
