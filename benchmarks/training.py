# SPDX-License-Identifier: Apache-2.0
"""Speed and memory of training steps on the CPU, next to other systems: python benchmarks/training.py

Random rows in networks of four sizes.  In each round all systems take turns, each in a new process; the others than
MindSpore take part if --peers names the interpreter of an environment of benchmarks/requirements-peers.txt.  Printed
are rows per second, in multiples of those of PyTorch in float32 (minimum, median and maximum of the rounds), the peak
memory of the process, and the rate of the step's matrix products as a fraction of the rate that products alone reach in
the same round.  --operators prints how long each kind of operator of a step takes.
"""

import argparse
import csv
import dataclasses
import itertools
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np

LEARNING_RATE, EPSILON, L2_COEF, WARM_UP_STEPS = 5e-4, 5e-8, 8e-5, 2


@dataclasses.dataclass(frozen=True)
class Size:
    """A network, and the rows of a step."""

    vocabulary_size: int
    sparse_fields: int
    dense_fields: int
    embedding_size: int
    hidden_sizes: tuple[int, ...]
    batch_size: int
    keep_prob: float = 0.9


SIZES = {
    "default": Size(184_965, 26, 13, 80, (1024, 512, 256, 128), 16_000),
    "middle": Size(184_965, 26, 13, 16, (400,) * 3, 4096),
    "criteo_x4": Size(911_000, 39, 0, 16, (1000,) * 5, 10_000),
    "quickstart": Size(26_000, 39, 13, 16, (128, 64), 1000),
}
OURS = {
    "ours": "this repository",
    "ours_bfloat16": "the same, bfloat16",
    "no_dropout": "the same without dropout",
    "unfolded": "plain formula in MindSpore",
}
PEERS = {
    "pytorch": "PyTorch",
    "pytorch_bfloat16": "PyTorch, bfloat16 autocast",
    "fuxictr": "FuxiCTR",
    "deepctr_torch": "DeepCTR-Torch",
}
REFERENCE = "pytorch"
PRODUCTS = {"float32": "products in float32", "bfloat16": "products in bfloat16"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="default: all")
    parser.add_argument("--systems", nargs="+", choices=[*OURS, *PEERS], help="default: all that can run")
    parser.add_argument("--peers", type=pathlib.Path, help="interpreter of an environment with PyTorch and the peers")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of a process (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns (default: 3)")
    parser.add_argument("--operators", action="store_true", help="print the operators of a step instead")
    parser.add_argument("--run", choices=OURS, help=argparse.SUPPRESS)  # in a process that this script starts
    arguments = parser.parse_args()
    if arguments.operators and not set(arguments.systems or []) <= OURS.keys():
        parser.error(f"--operators has those of {', '.join(OURS)} alone")
    if arguments.run:
        print(json.dumps(run(arguments.run, SIZES[arguments.sizes[0]], arguments.steps)))
        return
    for size in arguments.sizes:
        print(f"{size}: {SIZES[size]}", flush=True)
        if arguments.operators:
            for system in arguments.systems or ["ours"]:
                print_operators(system, SIZES[size])
        else:
            compare(size, arguments)


def compare(size: str, arguments: argparse.Namespace) -> None:
    """Let all systems take turns at a size, and print what came out."""
    systems = arguments.systems or [*OURS, *(PEERS if arguments.peers else [])]
    if not has_bfloat16():
        systems = [each for each in systems if "bfloat16" not in each]
    products = [each for each in PRODUCTS if arguments.peers and (each == "float32" or has_bfloat16())]
    results: dict[str, list[dict]] = {each: [] for each in [*products, *systems]}
    for _ in range(arguments.rounds):
        for system, found in results.items():
            found.append(in_new_process(system, size, arguments))
    for system in products:
        rates = [each["flops_per_second"] for each in results[system]]
        print(f"{PRODUCTS[system]:30} {statistics.median(rates) / 1e9:9,.0f} GFLOP/s", flush=True)
    for system in systems:
        print(describe(system, size, results), flush=True)


def has_bfloat16() -> bool:
    """Tell whether the processor multiplies in bfloat16."""
    return "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text().split()


def in_new_process(system: str, size: str, arguments: argparse.Namespace) -> dict:
    """Return what a system printed of its steps, in a process of its own."""
    if system in OURS:
        command = [sys.executable, __file__, f"--sizes={size}", f"--run={system}", f"--steps={arguments.steps}"]
    else:
        content = json.dumps(dataclasses.asdict(SIZES[size]))
        script = ROOT / "benchmarks" / "torch_training.py"
        command = [str(arguments.peers), str(script), system, content, str(arguments.steps)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(printed.splitlines()[-1])


def describe(system: str, size: str, results: dict[str, list[dict]]) -> str:
    """Return the line of a system."""
    step_seconds = [statistics.median(each["seconds"]) for each in results[system]]
    rows_per_second = SIZES[size].batch_size / statistics.median(step_seconds)
    peak = statistics.median(each["peak_bytes"] for each in results[system])
    line = f"{({**OURS, **PEERS})[system]:30} {rows_per_second:9,.0f} rows/s  peak {peak / 1e9:5.2f} GB"
    if REFERENCE in results:
        ratios = [
            statistics.median(reference["seconds"]) / seconds
            for reference, seconds in zip(results[REFERENCE], step_seconds)
        ]
        line += f"  {min(ratios):.2f} {statistics.median(ratios):.2f} {max(ratios):.2f} times PyTorch"
    kind = "bfloat16" if "bfloat16" in system else "float32"
    if kind in results:
        rates = [each["flops_per_second"] for each in results[kind]]
        flops = [each["flops"] / seconds for each, seconds in zip(results[system], step_seconds)]
        fraction = statistics.median(own / rate for own, rate in zip(flops, rates))
        line += f"  {fraction:.2f} of the rate of {kind} products"
    return line


def run(system: str, size: Size, steps: int) -> dict:
    """Time the steps of a system in this process."""
    train_step, batch = prepare(system, size)
    seconds = []
    for _ in range(WARM_UP_STEPS + steps):
        start = time.perf_counter()
        train_step(*batch).asnumpy()
        seconds.append(time.perf_counter() - start)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds[WARM_UP_STEPS:], "peak_bytes": peak_bytes, "flops": product_flops(system, size)}


def product_flops(system: str, size: Size) -> int:
    """Return the operations of the products of a step: forward, and both gradients.

    The folded first layer multiplies the values of the dense fields, not their embeddings.
    """
    folded = size.sparse_fields * size.embedding_size + size.dense_fields
    plain = (size.sparse_fields + size.dense_fields) * size.embedding_size
    inputs = plain if system == "unfolded" else folded
    return 6 * size.batch_size * sum(a * b for a, b in itertools.pairwise([inputs, *size.hidden_sizes, 1]))


def prepare(system: str, size: Size) -> tuple[Callable, list]:
    """Return the train step of a system, and a batch of random rows."""
    from mindspore import Tensor

    from src.deepfm import DeepFM, DeepFMConfig
    from src.distributed.device import set_seed, set_up
    from src.training.precision import choose_precision
    from src.training.train_step import build_train_step

    convert_dtype = "bfloat16" if system == "ours_bfloat16" else "auto"
    device, _ = set_up("CPU", 0, convert_dtype=convert_dtype)
    set_seed(1)
    keep_prob = 1.0 if system == "no_dropout" else size.keep_prob
    fields = (size.sparse_fields, size.dense_fields, size.embedding_size)
    config = DeepFMConfig(size.vocabulary_size, *fields, size.hidden_sizes, keep_prob=keep_prob)
    dense_dtype = choose_precision(convert_dtype, device).dense_dtype
    network = plain_network(config) if system == "unfolded" else DeepFM(config, 0, dense_dtype, "CPU")
    random = np.random.default_rng(1)
    batch = [Tensor(random.integers(0, size.vocabulary_size, (size.batch_size, size.sparse_fields)).astype(np.int32))]
    if size.dense_fields:
        batch.append(Tensor(random.random((size.batch_size, size.dense_fields)).astype(np.float32)))
    batch.append(Tensor((random.random((size.batch_size, 1)) < 0.25).astype(np.float32)))
    return build_train_step(network, LEARNING_RATE, EPSILON, L2_COEF), batch


def plain_network(config):
    """Return a DeepFM that computes the formula as it is written, of MindSpore's layers and its dropout."""
    from mindspore import nn, ops

    from src.deepfm import DeepFM

    class PlainDeepFM(DeepFM):
        def __init__(self):
            super().__init__(dataclasses.replace(config, keep_prob=1.0))
            width = (config.sparse_field_count + config.dense_field_count) * config.embedding_size
            layers = []
            for inputs, outputs in itertools.pairwise([width, *config.hidden_sizes]):
                layers += [nn.Dense(inputs, outputs), nn.ReLU(), nn.Dropout(p=1 - config.keep_prob)]
            self.plain = nn.SequentialCell(*layers, nn.Dense(config.hidden_sizes[-1], 1))
            del self.deep

        def score(self, weights, embeddings, dense_values=None, statistics=None):
            if self.has_dense_fields:
                values = ops.expand_dims(dense_values, 2)  # [B, N, 1]
                weights = ops.concat((weights, values * self.dense_linear), 1)
                embeddings = ops.concat((embeddings, values * self.dense_embedding), 1)
            sums = ops.square(embeddings.sum(1)) - ops.square(embeddings).sum(1)
            deep = self.plain(embeddings.reshape(embeddings.shape[0], -1))
            return self.bias + weights.sum(1) + sums.sum(1, keepdims=True) / 2 + deep

    return PlainDeepFM()


def print_operators(system: str, size: Size) -> None:
    """Print the milliseconds of a step by kind of operator, as MindSpore's profiler measures them."""
    from mindspore import profiler

    train_step, batch = prepare(system, size)
    steps = 5
    for _ in range(WARM_UP_STEPS):
        train_step(*batch).asnumpy()
    with tempfile.TemporaryDirectory() as folder:
        profile = profiler.profile(
            activities=[profiler.ProfilerActivity.CPU],
            on_trace_ready=profiler.tensorboard_trace_handler(folder),
            start_profile=False,
        )
        profile.start()
        for _ in range(steps):
            train_step(*batch).asnumpy()
        profile.stop()
        (path,) = pathlib.Path(folder).rglob("cpu_op_type_info_*.csv")
        operators = list(csv.DictReader(path.open()))
    operators.sort(key=lambda each: -float(each["total_compute_time"]))
    total = sum(float(each["total_compute_time"]) for each in operators)
    for each in operators:
        milliseconds = float(each["total_compute_time"])
        count = int(each["type_occurrences"]) // steps
        print(f"{each['op_type']:28} {count:4} {milliseconds / steps:9.2f} ms {milliseconds / total:6.1%}")


if __name__ == "__main__":
    main()
