# SPDX-License-Identifier: Apache-2.0
"""Bodies of a TrialProcess that train nothing: their log loss is a formula, so that a search of them takes seconds."""

import math
import os
import signal
import time

import numpy as np

from src.tuning.messages import Trained, Validated
from src.tuning.predictions import Predictions
from src.tuning.trial_requests import end_with_parent, failures_sent, requests

ROWS = 40
VALIDATIONS = 8


def log_loss_of(config):
    """Return the lowest log loss of a recipe: best at learning rate 0.0014, keep 0.55, a network of 128-64."""
    rate = abs(math.log10(config.learning_rate / 0.0014))
    shape = 0.0 if config.hidden_sizes == (128, 64) else 0.01
    return 0.45 + 0.05 * rate + 0.1 * (config.keep_prob - 0.55) ** 2 + shape + 0.0001 * (config.seed % 7)


def quick(connection, delay=0.0):
    """Validate eight times, towards the formula; `delay` seconds before each."""
    end_with_parent()
    for config in requests(connection):
        with failures_sent(connection):
            best = None
            for number in range(1, VALIDATIONS + 1):
                time.sleep(delay)
                best = Validated(number / 3, log_loss_of(config) + 0.04 / number, 0.7)
                connection.send(best)
                if connection.recv():
                    break
            connection.send(Trained(best, predictions_of(config)))


def predictions_of(config):
    """Return the predictions of a network with the formula's quality."""
    labels = np.tile([0.0, 1.0, 1.0, 0.0, 0.0], ROWS // 5).astype(np.float32)
    error = np.float32(log_loss_of(config))
    return Predictions(labels, np.abs(labels - error).astype(np.float32))


def faulty(connection, fault):
    """Validate once, then end as `fault` says, unless the learning rate is that of the defaults."""
    end_with_parent()
    for config in requests(connection):
        with failures_sent(connection):
            connection.send(Validated(1.0, 0.5, 0.7))
            connection.recv()
            if config.learning_rate != 0.0005:
                FAULTS[fault]()
            connection.send(Trained(Validated(1.0, 0.5, 0.7), predictions_of(config)))


def _raise(error):
    raise error


FAULTS = {
    "status": lambda: os._exit(3),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "memory": lambda: _raise(MemoryError()),
    "error": lambda: _raise(ValueError("the loss is nan\nand more")),
    "bug": lambda: _raise(RuntimeError("a line\nanother one")),
    "slow": lambda: time.sleep(60),
}


def never_validated(connection):
    """Take a request and wait."""
    end_with_parent()
    for _ in requests(connection):
        time.sleep(60)
