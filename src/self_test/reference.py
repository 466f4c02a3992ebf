# SPDX-License-Identifier: Apache-2.0
"""The values of a CPU, stored in reference.json: python -m src.self_test.reference > src/self_test/reference.json"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import contextlib
import json
import pathlib
import sys

import numpy as np

from src.common.errors import run_main
from src.distributed.device import select_device
from src.distributed.process_group import ProcessGroup
from src.self_test import masks
from src.self_test.commands import run_commands
from src.self_test.results import format_json
from src.self_test.small_training import SmallTraining
from src.training.precision import FLOAT32

REFERENCE_PATH = pathlib.Path(__file__).with_name("reference.json")
CPU = "CPU"


def load_reference() -> dict:
    """Return the content of reference.json."""
    return json.loads(REFERENCE_PATH.read_text(encoding="utf-8"))


def make_reference() -> dict:
    """Compute the content of reference.json, except for the metrics of the commands, on this machine's CPU."""
    training = SmallTraining(FLOAT32, ProcessGroup(), CPU)
    measured = training.run()
    return {
        "probabilities": _as_lists(training.probabilities()),
        **{name: _as_lists(getattr(measured, name)) for name in ("losses", "gradients", "weights")},
        masks.DIGEST: masks.digest(masks.device_mask(CPU)),
    }


def main() -> None:
    """Print the content of reference.json."""
    with contextlib.redirect_stdout(sys.stderr):
        metrics = run_commands([f"--device_target={CPU}"])
        select_device(CPU, 0)
        reference = make_reference()
    print(format_json({**reference, "test_metrics": {name: metrics[name] for name in ("AUC", "log_loss")}}))


def _as_lists(values):
    """Return arrays as lists of the shortest decimals that give the same float32."""
    if isinstance(values, dict):
        return {name: _as_lists(value) for name, value in values.items()}
    single = np.asarray(values, np.float32)
    return np.array([float(str(number)) for number in single.ravel()]).reshape(single.shape).tolist()


if __name__ == "__main__":
    run_main(main, prints_result=True)
