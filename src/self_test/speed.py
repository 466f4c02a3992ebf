# SPDX-License-Identifier: Apache-2.0
"""The time of a training step of the network that the flags describe, by default that of the README."""

import time

import numpy as np
from mindspore import Tensor

from src.config import Config
from src.deepfm import DeepFM, DeepFMConfig
from src.self_test.check import Result, Status
from src.training.precision import Precision
from src.training.train_step import build_train_step

SPARSE_FIELDS, DENSE_FIELDS = 39, 13  # of Criteo's rows with --dense_encoding=log+bin
VOCABULARY_SIZE = 185_000  # of Criteo's rows
STEPS = 50
WARM_UP = 3  # steps; the first one compiles


def measure_speed(config: Config, target: str, precision: Precision) -> Result:
    """Time steps on one batch of random rows; the batch is on the device already."""
    rows = config.batch_size
    sizes = DeepFMConfig(
        VOCABULARY_SIZE,
        SPARSE_FIELDS,
        DENSE_FIELDS,
        config.embedding_size,
        config.hidden_sizes,
        config.keep_prob,
        config.embedding_keep_prob,
    )
    train_step = build_train_step(
        DeepFM(sizes, config.seed, precision.dense_dtype, target), config.learning_rate, config.epsilon, config.l2_coef,
        config.l2_on, config.clip_norm, config.ema_decay, precision=precision,
    )  # fmt: skip
    batch = [Tensor(column) for column in _rows(rows)]
    start = time.perf_counter()
    train_step(*batch).asnumpy()
    compiled = time.perf_counter()
    for _ in range(1, WARM_UP):
        train_step(*batch).asnumpy()
    step_ms, host_ms = _time_steps(lambda: train_step(*batch))
    text = f"{step_ms:.1f} ms a step of {rows:,} rows, {rows / step_ms * 1000:,.0f} rows/s; the host takes "
    text += f"{host_ms:.1f} ms of it; the first step took {compiled - start:.1f} s"
    return Result(Status.INFO, text, {"vocabulary_size": VOCABULARY_SIZE, "steps": STEPS})


def _time_steps(step):
    """Return the milliseconds of a step, and of its call, which may return before the device has done it."""
    start = time.perf_counter()
    for _ in range(STEPS):
        loss = step()
    called = time.perf_counter()
    loss.asnumpy()
    ended = time.perf_counter()
    return (ended - start) / STEPS * 1000, (called - start) / STEPS * 1000


def _rows(count):
    random = np.random.default_rng(1)
    return (
        random.integers(0, VOCABULARY_SIZE, (count, SPARSE_FIELDS), np.int32),
        random.random((count, DENSE_FIELDS), np.float32),
        (random.random((count, 1)) < 0.25).astype(np.float32),
    )
