# SPDX-License-Identifier: Apache-2.0
"""What a second process adds to training on the CPU: python benchmarks/scaling.py

Rows/s of training steps (random rows, the default network) by one process on one core, by two ranks on one core each,
and, as two cores of a machine may slow each other down, by two processes that have nothing to do with each other.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

SPARSE_FIELDS, DENSE_FIELDS, VOCABULARY = 39, 13, 184_965
WARM_UP_STEPS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=16_000, help="rows of a process in a step (default: 16000)")
    parser.add_argument("--steps", type=int, default=4, help="that are timed (default: 4)")
    parser.add_argument("--runs", type=int, default=3, help="of each kind, in turn (default: 3)")
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)  # of a process that this script starts
    arguments = parser.parse_args()
    if arguments.core is not None:
        print(f"{measure(arguments):.1f} rows/s", flush=True)
        return
    kinds = {"one process": one_process, "two ranks": two_ranks, "two processes apart": two_apart}
    rates = {kind: [] for kind in kinds}
    for _ in range(arguments.runs):
        for kind, run in kinds.items():
            rates[kind].append(run(["--batch_size", str(arguments.batch_size), "--steps", str(arguments.steps)]))
            print(f"{kind:20} {rates[kind][-1]:10,.0f} rows/s", flush=True)
    for kind in list(kinds)[1:]:
        efficiency = [both / one / 2 for both, one in zip(rates[kind], rates["one process"])]
        print(f"{kind}: {statistics.median(efficiency):.2f} of twice the one process (median)")


def measure(arguments):
    """Train on random rows, on one core; return the rows/s of all ranks together."""
    rank = int(os.environ.get("RANK_ID", arguments.core))
    os.sched_setaffinity(0, {rank})  # before MindSpore starts its threads
    from mindspore import Tensor

    from src.deepfm import DeepFM, DeepFMConfig
    from src.distributed.device import set_seed, set_up
    from src.training.train_step import build_train_step

    _, ranks = set_up("CPU", 0)
    set_seed(1)
    network = DeepFM(DeepFMConfig(VOCABULARY, SPARSE_FIELDS, DENSE_FIELDS, 80, (1024, 512, 256, 128), keep_prob=0.9))
    train_step = build_train_step(network, 5e-4, 5e-8, 8e-5, rank_count=ranks.count)
    random, rows = np.random.default_rng(rank), arguments.batch_size
    batch = (
        Tensor(random.integers(0, VOCABULARY, (rows, SPARSE_FIELDS)).astype(np.int32)),
        Tensor(random.random((rows, DENSE_FIELDS)).astype(np.float32)),
        Tensor((random.random((rows, 1)) < 0.25).astype(np.float32)),
    )
    for _ in range(WARM_UP_STEPS):
        train_step(*batch).asnumpy()
    start = time.perf_counter()
    for _ in range(arguments.steps):
        train_step(*batch).asnumpy()
    return ranks.count * rows * arguments.steps / (time.perf_counter() - start)


def one_process(flags):
    return rate_of(start(flags, 0).communicate()[0])


def two_apart(flags):
    processes = [start(flags, core) for core in (0, 1)]
    return sum(rate_of(process.communicate()[0]) for process in processes)


def start(flags, core):
    command = [sys.executable, __file__, *flags, f"--core={core}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def two_ranks(flags):
    with tempfile.TemporaryDirectory() as folder:
        launch = [sys.executable, ROOT / "src" / "distributed" / "launch.py", "--device_num=2", "--log=log{rank}"]
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # msrun is beside this Python
        subprocess.run(
            [*launch, pathlib.Path(__file__).resolve(), *flags, "--core=0"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
        )
        return rate_of(pathlib.Path(folder, "log0").read_text())


def rate_of(output):
    return float(re.search(r"([\d.]+) rows/s", output)[1])


if __name__ == "__main__":
    main()
