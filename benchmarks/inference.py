# SPDX-License-Identifier: Apache-2.0
"""Latency of an exported DeepFM on the CPU: python benchmarks/inference.py

The default network with random weights, in the C++ runner (MindSpore Lite), in onnxruntime and in MindSpore's graph
mode, interleaved.  MindSpore has a thread for each core, the others as many as --threads says.  For each batch size
the milliseconds per batch and the rows/s, as medians of the rounds.  LITE_HOME names MindSpore Lite; without it,
scripts/get_mindspore_lite.sh is asked.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from mindspore import Tensor

from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict, create_predictor
from src.distributed.device import select_device, set_seed
from src.export.formats import ExportOptions, export_model

BATCHES = {1: 500, 100: 200, 1000: 40, 16_000: 4}  # how many of each size are timed in a round
WARM_UP = 2
CONFIG = DeepFMConfig(184_965, 26, 13, 80, (1024, 512, 256, 128))
STATISTICS = ("mean", "p50", "p90", "p99", "rows/s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of the runner and of onnxruntime (default: 2)")
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns (default: 3)")
    parser.add_argument("--most_rows", type=int, default=max(BATCHES), help="in a batch (default: %(default)s)")
    arguments = parser.parse_args()
    select_device("CPU", 0)
    set_seed(1)
    runner = build_runner()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        network, predictor = DeepFM(CONFIG), create_predictor(DeepFM(CONFIG, target="CPU"))
        describe_folding(network, folder)
        predictor.network.fold()
        print(f"{'batch':>6} {'':16} " + " ".join(f"{name:>10}" for name in STATISTICS))
        for batch_rows, count in BATCHES.items():
            if batch_rows > arguments.most_rows:
                break
            systems = prepare(network, predictor, batch_rows, count, folder, runner, arguments.threads)
            results = {name: [] for name in systems}
            for _ in range(arguments.rounds):
                for name, run in systems.items():
                    results[name].append(run())
            for name, rounds in results.items():
                medians = np.median(rounds, axis=0)
                print(f"{batch_rows:6} {name:16} " + " ".join(f"{value:10,.2f}" for value in medians), flush=True)


def build_runner():
    """Build the C++ runner if need be; return its path."""
    environment = dict(os.environ)
    if not environment.get("LITE_HOME"):
        found = subprocess.run(
            ["bash", ROOT / "scripts" / "get_mindspore_lite.sh"], stdout=subprocess.PIPE, text=True, check=True
        )
        environment["LITE_HOME"] = found.stdout.strip()
    command = ["bash", ROOT / "ascend310_infer" / "build.sh"]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return ROOT / "ascend310_infer" / "out" / "main"


def describe_folding(network, folder):
    """Print the sizes of the exported network with and without folded dense fields; fold it."""
    sizes = []
    for name in ("plain", "folded"):
        path = folder / f"{name}.mindir"
        export_model(DeepFMPredict(network), path, ExportOptions("MINDIR", 1000))
        sizes.append(path.stat().st_size / 1e6)
        if name == "plain":
            network.fold()
    print(
        f"exported: {sizes[0]:.2f} MB, with folded dense fields {sizes[1]:.2f} MB, {1 - sizes[1] / sizes[0]:.1%} less"
    )


def prepare(network, predictor, batch_rows, count, folder, runner, threads):
    """Return for each system a function that times `count` batches and returns its STATISTICS.

    network: to export.  predictor: of a network of the same sizes, for MindSpore.
    """
    random = np.random.default_rng(1)
    ids = random.integers(0, CONFIG.vocabulary_size, (batch_rows * count, CONFIG.sparse_field_count)).astype(np.int32)
    values = random.random((batch_rows * count, CONFIG.dense_field_count)).astype(np.float32)
    batches = [(ids[start : start + batch_rows], values[start : start + batch_rows])
               for start in range(0, len(ids), batch_rows)]  # fmt: skip
    for name, column in (("ids", ids), ("values", values)):
        (folder / name).mkdir(exist_ok=True)
        column.tofile(folder / name / "rows.bin")
    mindir, onnx = folder / f"{batch_rows}.mindir", folder / f"{batch_rows}.onnx"
    export_model(DeepFMPredict(network), mindir, ExportOptions("MINDIR", batch_rows, mindir_version=1))
    export_model(DeepFMPredict(network), onnx, ExportOptions("ONNX", batch_rows))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(onnx), options)
    return {
        "C++ runner": lambda: run_runner(runner, mindir, folder, threads),
        "onnxruntime": lambda: run_python(
            lambda ids, values: session.run(None, {"sparse_ids": ids, "dense_values": values}), batches
        ),
        "MindSpore graph": lambda: run_python(
            lambda ids, values: predictor(Tensor(ids), Tensor(values)).asnumpy(), batches
        ),
    }


def run_runner(runner, mindir, folder, threads):
    command = [
        runner, f"--mindir_path={mindir}", f"--input0_path={folder / 'ids'}", f"--input1_path={folder / 'values'}",
        f"--output_path={folder / 'out'}", "--device_target=CPU", f"--threads={threads}", f"--warmup={WARM_UP}",
    ]  # fmt: skip
    line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1]
    return [float(re.search(rf"{name} ([\d.]+)", line)[1]) for name in STATISTICS]


def run_python(predict, batches):
    for batch in batches[:WARM_UP]:
        predict(*batch)
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        predict(*batch)
        seconds.append(time.perf_counter() - start)
    milliseconds = np.array(seconds) * 1e3
    percentiles = np.percentile(milliseconds, [50, 90, 99], method="inverted_cdf")
    return [milliseconds.mean(), *percentiles, len(batches) * len(batches[0][0]) / sum(seconds)]


if __name__ == "__main__":
    main()
