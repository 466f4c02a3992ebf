# SPDX-License-Identifier: Apache-2.0
"""Speed of scoring, from raw text to probabilities, compared with other ways: python benchmarks/scoring.py

The quick start's network with random weights on generated rows without labels.  predict.py alternates with pandas and
onnxruntime on the ids, with FuxiCTR if --peers names the interpreter of an environment of
benchmarks/requirements-peers.txt, and with the C++ runner if --runner names it; each in a new process, timed without
its start, but that of the runner.  Then the stages of predict.py alone, in one thread; the network with and without the
table of many rows, also of the default size; the latency of the raw ONNX file; with --memory, the peak memory of
predict.py for these rows and for ten times as many.
"""

import argparse
import contextlib
import functools
import io
import itertools
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from src.preprocessing import allocator

os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)  # as predict.py has it when started as a script

import numpy as np
import polars as pl

from src.criteo_like import write_rows

TRAIN_ROWS = 200_000  # from which the vocabulary comes
QUICKSTART, DEFAULT = (16, (128, 64)), (80, (1024, 512, 256, 128))  # embedding and hidden sizes
STAGE_CHUNKS = 8
NETWORK_ROWS = 20_000
# Runs a command and prints its peak memory: that of a process begins with its parent's, so the parent must be small.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
CALLS = {1: 5000, 1000: 50}  # of which the latency is the median, by number of rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="to score (default: 1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns (default: 3)")
    parser.add_argument("--peers", type=pathlib.Path, help="interpreter of an environment with FuxiCTR")
    parser.add_argument("--runner", type=pathlib.Path, help="the C++ runner, built")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory, too")
    parser.add_argument("--work", type=pathlib.Path, help="folder for the files (default: the system's temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        folder = pathlib.Path(work)
        in_new_process(prepare, folder, arguments.rows)
        compare_speed(folder, arguments)
        in_new_process(print_stages, folder)
        in_new_process(print_networks, folder)
        print_latency(folder, arguments.rounds)
        if arguments.memory:
            write_new_rows(folder / "more.txt", 10 * arguments.rows, seed=3)
            for name in ("rows.txt", "more.txt"):
                seconds, peak_bytes = run_predict(folder, name)
                print(f"{name:9} {peak_bytes / 1e6:6,.0f} MB at most, {seconds:,.0f} s")


def prepare(folder: pathlib.Path, row_count: int) -> None:
    """Write rows to train and to score, and packages of both networks with the ids' model next to them."""
    from src.dataset_meta import DatasetMeta
    from src.preprocess_data import main as preprocess

    write_rows(folder / "train.txt", TRAIN_ROWS, seed=1)
    write_new_rows(folder / "rows.txt", row_count, seed=2)
    with contextlib.redirect_stdout(io.StringIO()):
        preprocess([f"--data_path={folder}", "--train_line_count=0"])
    data = DatasetMeta.load(folder / "mindrecord")
    for name, sizes in {"model": QUICKSTART, "default": DEFAULT}.items():
        write_models(folder, name, data, *sizes)


def write_new_rows(path: pathlib.Path, count: int, seed: int) -> None:
    """Write generated rows without labels, as rows to score have none."""
    labelled = path.with_suffix(".labelled")
    write_rows(labelled, count, seed)
    with open(labelled, "rb") as rows, open(path, "wb") as out:
        out.writelines(row.partition(b"\t")[2] for row in rows)
    labelled.unlink()


def write_models(folder, name, data, embedding_size, hidden_sizes):
    """Write the package `name` of a network with random weights, and name-ids.onnx, which takes encoded rows."""
    from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
    from src.distributed.device import select_device, set_seed
    from src.export.formats import ExportOptions, export_model
    from src.export.package import write_package
    from src.package.raw_encoding import RawEncoding

    select_device("CPU", 0)
    set_seed(1)
    sizes = (data.vocabulary_size, len(data.sparse_fields), len(data.dense_fields), embedding_size, hidden_sizes)
    network = DeepFM(DeepFMConfig(*sizes))
    (folder / name).mkdir()
    write_package(folder / name, network, RawEncoding.of_dataset(data), None, {"valid": None, "test": None})
    export_model(DeepFMPredict(network), folder / f"{name}-ids.onnx", ExportOptions("ONNX", 0))


def in_new_process(function: Callable, *arguments):
    """Return function(*arguments), computed in a process of its own: the memory that another leaves has an effect."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def compare_speed(folder: pathlib.Path, arguments: argparse.Namespace) -> None:
    """Print the rows/s of all systems, and how many times as long as predict.py they take."""
    systems: dict[str, Callable[[], float]] = {
        "predict.py": lambda: in_new_process(seconds_of_predict, folder),
        "pandas + onnxruntime": lambda: in_new_process(seconds_of_pandas, folder),
    }
    with contextlib.ExitStack() as stack:
        if arguments.runner:
            systems["C++ runner"] = lambda: seconds_of_runner(arguments.runner, folder)
        if arguments.peers:
            fuxictr = stack.enter_context(start_fuxictr(arguments.peers, folder))
            systems["FuxiCTR"] = lambda: seconds_of_fuxictr(fuxictr)
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(arguments.rounds):
            for name, run in systems.items():
                seconds[name].append(run())
    for name, rounds in seconds.items():
        ratios = sorted(other / own for other, own in zip(rounds, seconds["predict.py"]))
        times = f"{ratios[0]:.2f} .. {statistics.median(ratios):.2f} .. {ratios[-1]:.2f} times as long"
        print(f"{name:20} {arguments.rows / statistics.median(rounds):10,.0f} rows/s   {times}", flush=True)
    print(f"pandas + onnxruntime differs from predict.py by at most {largest_difference(folder):.1e}")


def seconds_of_predict(folder: pathlib.Path) -> float:
    import predict

    paths = {"model_path": "model", "input_path": "rows.txt", "output_path": "scores.csv"}
    flags = [f"--{flag}={folder / name}" for flag, name in paths.items()]
    with contextlib.redirect_stdout(io.StringIO()):
        return seconds_of(lambda: predict.main(flags))


def seconds_of_pandas(folder: pathlib.Path) -> float:
    from benchmarks.pandas_scoring import PandasScorer

    def score():
        PandasScorer(folder / "model", folder / "model-ids.onnx").score(folder / "rows.txt", folder / "pandas.csv")

    return seconds_of(score)


def seconds_of_runner(runner: pathlib.Path, folder: pathlib.Path) -> float:
    paths = {"model_path": "model", "input_path": "rows.txt", "output_path": "runner.csv"}
    command = [runner, "--device_target=CPU", *(f"--{flag}={folder / name}" for flag, name in paths.items())]
    return seconds_of(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


@contextlib.contextmanager
def start_fuxictr(python: pathlib.Path, folder: pathlib.Path) -> Iterator[subprocess.Popen]:
    """Yield a process that has fitted FuxiCTR's processor and waits for orders to predict."""
    columns = ["label", *(f"I{number}" for number in range(1, 14)), *(f"C{number}" for number in range(1, 27))]
    for name, label in {"train": b"", "rows": b"0\t"}.items():  # it needs a label, also of rows to score
        with open(folder / f"{name}.tsv", "wb") as out, open(folder / f"{name}.txt", "rb") as rows:
            out.write("\t".join(columns).encode() + b"\n")
            out.writelines(label + row for row in rows)
    command = [python, ROOT / "benchmarks" / "fuxictr_scoring.py", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate()


def seconds_of_fuxictr(process: subprocess.Popen) -> float:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("predict\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def largest_difference(folder: pathlib.Path) -> float:
    """Return the largest difference between the probabilities of pandas and of predict.py."""
    names = ("scores.csv", "pandas.csv")
    scores, pandas = (np.loadtxt(folder / name, delimiter=",", skiprows=1, usecols=1) for name in names)
    return float(np.abs(scores - pandas).max())


def print_stages(folder: pathlib.Path) -> None:
    """Print the processor time of a row in each stage of predict.py alone, and in all together with the output."""
    from src.package import load_model
    from src.package.many_rows import one_blas_thread
    from src.preprocessing.reading import parse_raw_chunk
    from src.scoring.chunk_scorer import ChunkScorer
    from src.scoring.options import ScoringOptions
    from src.scoring.row_source import RowSource

    model = load_model(folder / "model", threads=1, many_rows=True)
    scorer = ChunkScorer(model, ScoringOptions("", "", ""), has_label=False)
    source = RowSource.find(str(folder / "rows.txt"))
    chunks, read_seconds = processor_seconds(lambda: [*itertools.islice(source.chunks(scorer.schema), STAGE_CHUNKS)])
    parsed, parse_seconds = processor_seconds(lambda: [parse_raw_chunk(each).frame for each in chunks])
    encoded, encode_seconds = processor_seconds(lambda: [model.encode(frame) for frame in parsed])
    with one_blas_thread():
        _, network_seconds = processor_seconds(lambda: [model.network(*inputs) for inputs in encoded])
        _, total_seconds = processor_seconds(lambda: [scorer(each) for each in chunks])
    stages = {"read": read_seconds, "parse": parse_seconds, "encode": encode_seconds, "network": network_seconds}
    rows = sum(frame.height for frame in parsed)
    for stage, seconds in {**stages, "all but read": total_seconds}.items():
        print(f"{stage:14} {1e6 * seconds / rows:6.2f} us/row")


def print_networks(folder: pathlib.Path) -> None:
    """Print the processor time of a row in both networks, by onnxruntime and with the table of many rows."""
    from src.package import load_model
    from src.package.many_rows import one_blas_thread

    with open(folder / "rows.txt", "rb") as file:
        lines = list(itertools.islice(file, NETWORK_ROWS))
    for name in ("model", "default"):
        model = load_model(folder / name, threads=1)
        inputs = model.encode(model.read(lines))
        with one_blas_thread():
            _, onnx_seconds = processor_seconds(functools.partial(model.network, *inputs))
            model.prepare_for_many_rows()
            _, table_seconds = processor_seconds(functools.partial(model.network, *inputs))
        microseconds = [1e6 * seconds / len(lines) for seconds in (onnx_seconds, table_seconds)]
        print(f"{name:7} onnxruntime {microseconds[0]:6.2f} us/row, with the table {microseconds[1]:6.2f} us/row")


def processor_seconds(work: Callable) -> tuple[Any, float]:
    """Return what `work` returns, and the least processor time of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return result, min(times)


def print_latency(folder: pathlib.Path, rounds: int) -> None:
    """Print the latency of the raw ONNX files of both networks and of the models of encoded rows, each in a process."""
    for name, row_count in itertools.product(("model", "default"), CALLS):
        milliseconds = [
            [in_new_process(median_milliseconds, folder, name, row_count, is_raw) for is_raw in (True, False)]
            for _ in range(rounds)
        ]
        raw, ids = map(statistics.median, zip(*milliseconds))
        ratio = statistics.median(raw / ids for raw, ids in milliseconds)
        rows = f"{row_count} row{'s' * (row_count > 1)}"
        print(f"{name}, {rows}: raw ONNX p50 {raw:.3f} ms, of ids {ids:.3f} ms, {ratio:.2f} times")


def median_milliseconds(folder: pathlib.Path, name: str, row_count: int, is_raw: bool) -> float:
    """Return the median time of a call of the raw ONNX file, or of the model of encoded rows."""
    from benchmarks.pandas_scoring import start_session
    from src.package import load_model
    from src.package.rows import read_lines
    from src.package.runtime import DENSE_VALUES, SPARSE_IDS

    with open(folder / "rows.txt", "rb") as file:
        lines = list(itertools.islice(file, row_count))
    model = load_model(folder / name)
    frame = read_lines(lines, model.encoder.schema)
    if is_raw:
        path, inputs = f"{name}/model.onnx", raw_inputs(frame, model.encoder.schema)
    else:
        path, inputs = f"{name}-ids.onnx", dict(zip((SPARSE_IDS, DENSE_VALUES), model.encode(frame)))
    session = start_session(folder / path)
    return 1e3 * statistics.median(seconds_of(lambda: session.run(None, inputs)) for _ in range(CALLS[row_count]))


def raw_inputs(frame, schema):
    """Return the inputs of model.onnx for raw columns."""
    from src.preprocessing.raw_columns import MISSING, MISSING_INTEGER, to_texts

    inputs = {}
    for name in schema.integer_names:
        column = frame[name]
        values = np.where(column == MISSING[column.dtype], MISSING_INTEGER, column)
        inputs[name] = values.astype(np.int64)[:, None]
    for name in schema.category_names:
        texts = to_texts(frame[name]) if frame.schema[name] == pl.UInt32 else frame[name]
        inputs[name] = np.array(texts.to_list(), object)[:, None]
    return inputs


def run_predict(folder: pathlib.Path, name: str) -> tuple[float, int]:
    """Run predict.py on a file; return its seconds, with the start, and the most memory that it had, in bytes."""
    paths = {"model_path": "model", "input_path": name, "output_path": "scores.csv"}
    flags = [f"--{flag}={folder / file}" for flag, file in paths.items()]
    start = time.perf_counter()
    command = [sys.executable, "-c", PEAK, sys.executable, ROOT / "predict.py", *flags]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - start, 1024 * int(printed.splitlines()[-1])


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
