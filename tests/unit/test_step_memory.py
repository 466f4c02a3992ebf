# SPDX-License-Identifier: Apache-2.0
"""What a training step may not do: compile again, hold more memory from step to step, or pay for dropout in memory."""

import functools
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ROWS, UNITS, LAYERS = 16_000, 800, 3
# Trains as train.py does, on random rows; prints the peak memory after each number of steps, in bytes, and how many
# graphs have been compiled.
PROGRAM = """
import json, resource, sys
import numpy as np
from mindspore import Tensor
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.device import set_up
from src.training.train_step import build_train_step

rows, hidden_sizes, keep_prob, checkpoints = json.loads(sys.argv[1])
set_up("CPU", 0)
network = DeepFM(DeepFMConfig(1000, 8, 3, 8, tuple(hidden_sizes), keep_prob), target="CPU")
train_step = build_train_step(network, 1e-3, 1e-8, 1e-4)
random, peaks = np.random.default_rng(1), []
for step in range(1, checkpoints[-1] + 1):
    ids, values = random.integers(0, 1000, (rows, 8)).astype(np.int32), random.random((rows, 3), np.float32)
    labels = (random.random((rows, 1)) < 0.25).astype(np.float32)
    train_step(*map(Tensor, (ids, values, labels))).asnumpy()
    if step in checkpoints:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps([peaks, len(train_step.compile_cache)]))
"""


def run(rows, hidden_sizes, keep_prob, checkpoints):
    settings = json.dumps([rows, hidden_sizes, keep_prob, checkpoints])
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, settings], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_a_thousand_steps_take_no_more_memory_than_the_first_ones_and_one_graph():
    (early, late), graphs = run(500, [32, 16], 0.9, [50, 1050])
    assert graphs == 1
    assert late - early < 5e6  # of some 500 MB; one array of a step that stayed would be 1,000 times 16 kB and more


@functools.cache
def peak(keep_prob):
    return run(ROWS, [UNITS] * LAYERS, keep_prob, [4])[0][0]


@pytest.mark.slow
def test_dropout_takes_at_most_a_byte_of_each_hidden_unit():
    # 38 million units; the pools of masks take 2.5 MB, some three times.  A float32 mask would take 154 MB.
    assert peak(0.9) - peak(1.0) <= ROWS * UNITS * LAYERS + 8e6
