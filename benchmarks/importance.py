# SPDX-License-Identifier: Apache-2.0
"""Time of the permutation importance and the field pairs of 39 fields: python benchmarks/importance.py

Networks with random weights, of the default size and of config/criteo_small.yaml's, on random rows.  Seconds, and those
of all processors together: on a machine that is busy with other work the latter tell more.
"""

import argparse
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from mindspore import Tensor

from src.deepfm import DeepFM, DeepFMConfig, create_predictor
from src.distributed.device import select_device, set_seed
from src.distributed.process_group import ProcessGroup
from src.evaluation.field_effects import FieldVectors
from src.evaluation.field_pairs import strongest_pairs
from src.evaluation.field_sample import FieldSample, InputField
from src.evaluation.importance import permutation_importance

NUMBERS, CATEGORIES = 13, 26  # a number has a dense value and a bucket
VOCABULARY_SIZE = 184_965
SIZES = {
    "default": (80, (1024, 512, 256, 128), 4000),
    "criteo_small": (16, (256,), 512),
}  # D, layers, rows of a batch


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="of the sample (default: %(default)s)")
    arguments = parser.parse_args()
    select_device("CPU", 0)
    set_seed(1)
    for name, (width, layers, batch_rows) in SIZES.items():
        config = DeepFMConfig(VOCABULARY_SIZE, NUMBERS + CATEGORIES, NUMBERS, width, layers)
        for part, (seconds, busy) in measure(
            DeepFM(config, target="CPU"), draw_sample(arguments.rows, batch_rows)
        ).items():
            print(f"{name}: {part} {seconds:.1f} s, {busy:.1f} s of processors", flush=True)


def draw_sample(row_count, batch_rows):
    """Return rows of ids that are drawn evenly, and of normal values."""
    random = np.random.default_rng(1)
    ids = random.integers(0, VOCABULARY_SIZE, (row_count, NUMBERS + CATEGORIES)).astype(np.int32)
    values = random.normal(0, 1, (row_count, NUMBERS)).astype(np.float32)
    labels = (random.random(row_count) < 0.25).astype(np.float32)
    return FieldSample(ids, values, labels, None, batch_rows)


def measure(network, sample):
    """Return the seconds of the importance of all fields and of their pairs, with the compilation; see timed."""
    fields = [
        InputField(f"field {number}", range(number, number + 1), number, number if number < NUMBERS else None)
        for number in range(NUMBERS + CATEGORIES)
    ]
    predictor, vectors = create_predictor(network), FieldVectors(network)

    def predict(*inputs):
        return predictor(*map(Tensor, inputs)).asnumpy().ravel()

    def look_up(ids):
        return vectors(Tensor(ids)).asnumpy()

    dense_embedding = network.dense_embedding.asnumpy()
    return {
        "importance": timed(lambda: permutation_importance(predict, sample, fields, ProcessGroup())),
        "field pairs": timed(lambda: strongest_pairs(look_up, dense_embedding, sample, fields, ProcessGroup())),
    }


def timed(action):
    """Return the seconds that an action takes, and those of all processors."""
    start, busy = time.monotonic(), time.process_time()
    action()
    return time.monotonic() - start, time.process_time() - busy


if __name__ == "__main__":
    main()
