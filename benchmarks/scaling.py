# SPDX-License-Identifier: Apache-2.0
"""Scaling of training on the CPU from one process to two: python benchmarks/scaling.py

Measures rows/s of training steps (random rows, the default network) by one process on one core, by two ranks on one
core each, and by two ranks of which each has a part of the tables.  As two cores of a host may slow each other down, it
also measures two independent processes.  The memory is that of one process: of the tables with Adam's moments, and all
of it at its peak.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

from src.distributed.environment import find_rank

SPARSE_FIELDS, DENSE_FIELDS = 39, 13
WARM_UP_STEPS = 2
KINDS = {
    "one": "one process",
    "ranks": "two ranks",
    "parts": "two ranks with parts",
    "independent": "two independent",
}
GIB = 2**30
RESULT = re.compile(r"([\d.]+) rows/s, ([\d.]+) GiB of tables, peak ([\d.]+) GiB")


@dataclasses.dataclass(frozen=True)
class Result:
    """Rows per second of all processes together, and the memory of one of them, in GiB."""

    throughput: float
    tables: float
    peak: float

    def __str__(self):
        return f"{self.throughput:.1f} rows/s, {self.tables:.3f} GiB of tables, peak {self.peak:.2f} GiB"

    @classmethod
    def parse(cls, output: str) -> "Result":
        """Take it from the output of a process."""
        return cls(*map(float, RESULT.search(output).groups()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch_size", type=int, default=16_000, help="rows per step and process (default: 16000)")
    parser.add_argument("--vocabulary", type=int, default=184_965, help="ids (default: 184965)")
    parser.add_argument("--l2_coef", type=float, default=8e-5, help="weight of the L2 penalty; 0: off (default: 8e-5)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    parser.add_argument("--steps", type=int, default=4, help="timed steps (default: 4)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each kind, interleaved (default: 3)")
    # For a process that this script starts.
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--shard_embedding", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.core is not None:
        print(measure(arguments), flush=True)
        return
    flags = [f"--{name}={getattr(arguments, name)}" for name in ("batch_size", "vocabulary", "l2_coef", "steps")]
    runs = {
        "one": functools.partial(one_process, flags),
        "ranks": functools.partial(two_ranks, flags),
        "parts": functools.partial(two_ranks, [*flags, "--shard_embedding"]),
        "independent": functools.partial(two_independent_processes, flags),
    }
    results: dict[str, list[Result]] = {kind: [] for kind in arguments.kinds}
    for _ in range(arguments.runs):
        for kind, found in results.items():
            found.append(runs[kind]())
            print(f"{KINDS[kind]:22} {found[-1]}", flush=True)
    reference = results.pop("one", None)
    for kind, found in results.items() if reference else ():
        efficiency = statistics.median(two.throughput / one.throughput / 2 for two, one in zip(found, reference))
        print(f"{KINDS[kind]}: scaling efficiency {efficiency:.0%} (median)")


def measure(arguments: argparse.Namespace) -> Result:
    """Train on random rows, on one core; return the Result.

    arguments.core: the core of a process without launcher; a rank takes the core of its own number.
    """
    rank, batch_size, steps = find_rank(), arguments.batch_size, arguments.steps
    core = arguments.core if rank is None else rank
    os.sched_setaffinity(0, {core})  # before MindSpore starts its threads
    from mindspore import Tensor

    from src.deepfm import DeepFM, DeepFMConfig
    from src.distributed.device import set_seed, set_up
    from src.network.tables import Part, is_table, table_owners
    from src.training.train_step import build_train_step

    _, ranks = set_up("CPU", 0)
    set_seed(1)
    config = DeepFMConfig(arguments.vocabulary, SPARSE_FIELDS, DENSE_FIELDS, 80, (1024, 512, 256, 128), keep_prob=0.9)
    owners = table_owners(ranks, config.embedding_size, shard_embedding=arguments.shard_embedding)
    network = DeepFM(config, target="CPU", part=Part(owners.rank, owners.count))
    train_step = build_train_step(network, 5e-4, 5e-8, arguments.l2_coef)
    random = np.random.default_rng(core)
    batch = (
        Tensor(random.integers(0, arguments.vocabulary, (batch_size, SPARSE_FIELDS)).astype(np.int32)),
        Tensor(random.random((batch_size, DENSE_FIELDS)).astype(np.float32)),
        Tensor((random.random((batch_size, 1)) < 0.25).astype(np.float32)),
    )
    for _ in range(WARM_UP_STEPS):
        train_step(*batch).asnumpy()
    start = time.perf_counter()
    for _ in range(steps):
        train_step(*batch).asnumpy()
    throughput = ranks.count * batch_size * steps / (time.perf_counter() - start)
    tables = sum(each.nbytes for each in train_step.get_parameters() if is_table(each.name))
    return Result(throughput, tables / GIB, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB)


def one_process(flags: list[str]) -> Result:
    return Result.parse(start(flags, 0).communicate()[0])


def two_independent_processes(flags: list[str]) -> Result:
    processes = [start(flags, core) for core in (0, 1)]
    one, other = (Result.parse(process.communicate()[0]) for process in processes)
    return dataclasses.replace(one, throughput=one.throughput + other.throughput)


def start(flags: list[str], core: int) -> subprocess.Popen:
    command = [sys.executable, __file__, *flags, f"--core={core}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def two_ranks(flags: list[str]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        launch = [sys.executable, ROOT / "src" / "distributed" / "launch.py", "--device_num=2", "--log=log{rank}"]
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # msrun is next to this Python
        subprocess.run(
            [*launch, pathlib.Path(__file__).resolve(), *flags, "--core=0"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            check=True,
        )
        return Result.parse(pathlib.Path(folder, "log0").read_text())


if __name__ == "__main__":
    main()
