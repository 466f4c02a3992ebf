# SPDX-License-Identifier: Apache-2.0
"""Scaling of training on the CPU from one process to two: python benchmarks/scaling.py

Measures rows/s of training steps (random rows, the default network) by one process on one core and by two ranks on one
core each.  As two cores of a host may slow each other down, it also measures two independent processes.
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

from src.distributed.environment import find_rank

SPARSE_FIELDS, DENSE_FIELDS, VOCABULARY = 39, 13, 184_965
WARM_UP_STEPS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=16_000, help="rows per step and process (default: 16000)")
    parser.add_argument("--steps", type=int, default=4, help="timed steps (default: 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind, interleaved (default: 3)")
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)  # for a process that this script starts
    arguments = parser.parse_args()
    if arguments.core is not None:
        print(f"{measure(arguments.batch_size, arguments.steps, arguments.core):.1f} rows/s", flush=True)
        return
    flags = ["--batch_size", str(arguments.batch_size), "--steps", str(arguments.steps)]
    kinds = {"one process": one_process, "two ranks": two_ranks, "two independent": two_independent_processes}
    throughputs = {kind: [] for kind in kinds}
    for _ in range(arguments.runs):
        for kind, run in kinds.items():
            throughputs[kind].append(run(flags))
            print(f"{kind:20} {throughputs[kind][-1]:10,.0f} rows/s", flush=True)
    for kind in list(kinds)[1:]:
        efficiency = [both / one / 2 for both, one in zip(throughputs[kind], throughputs["one process"])]
        print(f"{kind}: scaling efficiency {statistics.median(efficiency):.0%} (median)")


def measure(batch_size: int, steps: int, core: int) -> float:
    """Train on random rows, on one core; return the rows/s of all ranks together.

    core: the core of a process without launcher; a rank takes the core of its own number.
    """
    rank = find_rank()
    core = core if rank is None else rank
    os.sched_setaffinity(0, {core})  # before MindSpore starts its threads
    from mindspore import Tensor

    from src.deepfm import DeepFM, DeepFMConfig
    from src.distributed.device import set_seed, set_up
    from src.training.train_step import build_train_step

    _, ranks = set_up("CPU", 0)
    set_seed(1)
    network = DeepFM(DeepFMConfig(VOCABULARY, SPARSE_FIELDS, DENSE_FIELDS, 80, (1024, 512, 256, 128), keep_prob=0.9))
    train_step = build_train_step(network, 5e-4, 5e-8, 8e-5)
    random = np.random.default_rng(core)
    batch = (
        Tensor(random.integers(0, VOCABULARY, (batch_size, SPARSE_FIELDS)).astype(np.int32)),
        Tensor(random.random((batch_size, DENSE_FIELDS)).astype(np.float32)),
        Tensor((random.random((batch_size, 1)) < 0.25).astype(np.float32)),
    )
    for _ in range(WARM_UP_STEPS):
        train_step(*batch).asnumpy()
    start = time.perf_counter()
    for _ in range(steps):
        train_step(*batch).asnumpy()
    return ranks.count * batch_size * steps / (time.perf_counter() - start)


def one_process(flags: list[str]) -> float:
    return parse_throughput(start(flags, 0).communicate()[0])


def two_independent_processes(flags: list[str]) -> float:
    processes = [start(flags, core) for core in (0, 1)]
    return sum(parse_throughput(process.communicate()[0]) for process in processes)


def start(flags: list[str], core: int) -> subprocess.Popen:
    command = [sys.executable, __file__, *flags, f"--core={core}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def two_ranks(flags: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        launch = [sys.executable, ROOT / "src" / "distributed" / "launch.py", "--device_num=2", "--log=log{rank}"]
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # msrun is next to this Python
        subprocess.run(
            [*launch, pathlib.Path(__file__).resolve(), *flags, "--core=0"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
        )
        return parse_throughput(pathlib.Path(folder, "log0").read_text())


def parse_throughput(output: str) -> float:
    """Return the rows/s that a process has printed."""
    return float(re.search(r"([\d.]+) rows/s", output)[1])


if __name__ == "__main__":
    main()
