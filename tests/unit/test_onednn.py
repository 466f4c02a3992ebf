# SPDX-License-Identifier: Apache-2.0
"""--convert_dtype=bfloat16 on a CPU: what it computes where there is AMX, and its refusal where there is not.

oneDNN is asked once for a whole process, so each test has processes of its own.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

with_amx = pytest.mark.skipif(
    "amx_bf16" not in pathlib.Path("/proc/cpuinfo").read_text().split(), reason="this processor has no AMX"
)
REFUSAL = (
    "error: --convert_dtype=bfloat16: this processor has no AMX, in which oneDNN multiplies float32 matrices in "
    "bfloat16; use --convert_dtype=auto\n"
)
# Prints the product of two matrices.
MULTIPLY = """
import json, sys
import numpy as np
from src.distributed.device import set_up
from src.self_test.arithmetic import multiply_matrices
set_up("CPU", 0, convert_dtype=sys.argv[1])
random = np.random.default_rng(1)
product = multiply_matrices(random.random((2000, 64), np.float32), random.random((64, 30), np.float32))
print(json.dumps(product.tolist()))
"""
# Prints the losses of thirty steps.
TRAIN = """
import json, sys
import numpy as np
from mindspore import Tensor
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.device import set_seed, set_up
from src.training.precision import choose_precision
from src.training.train_step import build_train_step
device, _ = set_up("CPU", 0, convert_dtype=sys.argv[1])
set_seed(1)
dense_dtype = choose_precision(sys.argv[1], device).dense_dtype
network = DeepFM(DeepFMConfig(1000, 8, 3, 16, (256, 128), keep_prob=0.9), 0, dense_dtype, target="CPU")
train_step = build_train_step(network, 5e-3, 1e-8, 1e-4)
random, losses = np.random.default_rng(1), []
for _ in range(30):
    ids, values = random.integers(0, 1000, (2000, 8)).astype(np.int32), random.random((2000, 3), np.float32)
    labels = (random.random((2000, 1)) < 0.1 + 0.5 * (ids[:, :1] < 500)).astype(np.float32)
    losses.append(train_step(*map(Tensor, (ids, values, labels))).asnumpy().item())
print(json.dumps(losses))
"""


def run_program(program, convert_dtype):
    command = [sys.executable, "-c", program, convert_dtype]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return np.array(json.loads(printed.splitlines()[-1]))


def rounded(values):
    """Return float32 values rounded to bfloat16, the upper half of their bits, to the nearest or to an even one."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("script", ["train.py", "eval.py"])
def test_it_is_refused_without_amx(script, run, dataset, tmp_path):
    (tmp_path / "a.ckpt").touch()
    flags = (f"--dataset_path={dataset}", "--batch_size=100", "--device_target=CPU", "--convert_dtype=bfloat16")
    flags += ("--checkpoint_path=a.ckpt",) if script == "eval.py" else ()
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    finished = run(ROOT / script, *flags, cwd=tmp_path, env=environment)
    assert finished.returncode == 2
    assert finished.stderr == REFUSAL


@with_amx
def test_factors_are_rounded_to_bfloat16_and_sums_are_float32():
    random = np.random.default_rng(1)
    left, right = random.random((2000, 64), np.float32), random.random((64, 30), np.float32)
    product = run_program(MULTIPLY, "bfloat16")
    np.testing.assert_allclose(product, rounded(left).astype(np.float64) @ rounded(right), rtol=1e-6)
    assert np.abs(product / (left.astype(np.float64) @ right) - 1).max() > 1e-4  # 9 bits of each factor


@with_amx
def test_without_the_flag_products_are_float32():
    random = np.random.default_rng(1)
    left, right = random.random((2000, 64), np.float32), random.random((64, 30), np.float32)
    np.testing.assert_allclose(run_program(MULTIPLY, "auto"), left.astype(np.float64) @ right, rtol=1e-6)


@pytest.mark.slow
@with_amx
def test_training_goes_the_way_that_it_goes_in_float32():
    losses, expected = run_program(TRAIN, "bfloat16"), run_program(TRAIN, "False")
    assert expected[-1] < expected[0] - 0.05
    np.testing.assert_allclose(losses, expected, rtol=0.01)
    assert np.abs(losses - expected).max() > 1e-5
