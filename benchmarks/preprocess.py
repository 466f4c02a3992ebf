# SPDX-License-Identifier: Apache-2.0
"""Speed of preprocessing, compared with a plain polars.read_csv of the same file: python benchmarks/preprocess.py

Prints rows/s of the complete job (raw text to committed MindRecord, without the start of the process) and of each stage
alone, and the time of the complete job as a multiple of read_csv's.  These two alternate, as machines change their
speed, each in a new process every time, as the memory that one leaves behind slows down or speeds up the other.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from src.preprocessing import allocator

os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)  # as preprocessing has it when started as a script

import polars as pl

from src import preprocess_data
from src.common.dense_encoding import DenseEncoding
from src.config import load_config
from src.criteo_like import write_rows
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.record_writer import SplitWriter
from src.preprocessing.schema import FieldSchema
from src.preprocessing.sizes import bucket_bits
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits
from src.preprocessing.stages import Job, SingleProcess
from src.preprocessing.writing import encode_buckets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000, help="generated rows (default: 4000000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated rows (default: 1)")
    parser.add_argument("--runs", type=int, default=5, help="of the complete job and of read_csv (default: 5)")
    parser.add_argument("--work", type=pathlib.Path, help="folder for the files (default: the system's temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        path = pathlib.Path(work, "train.txt")
        write_rows(path, arguments.rows, arguments.seed)
        print(f"{arguments.rows:,} generated rows, seed {arguments.seed}, {path.stat().st_size / 1e6:,.0f} MB")
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as new_process:
            csv_seconds, job_seconds = [], []
            for _ in range(arguments.runs):
                csv_seconds.append(new_process.apply(seconds_of_read_csv, [path]))
                job_seconds.append(new_process.apply(seconds_of_preprocessing, [path]))
            stages = new_process.apply(seconds_of_stages, [path])
        rows = arguments.rows
        print(f"polars.read_csv   {rows / statistics.median(csv_seconds):12,.0f} rows/s")
        print(f"complete job      {rows / statistics.median(job_seconds):12,.0f} rows/s")
        ratios = sorted(job / csv for job, csv in zip(job_seconds, csv_seconds))
        print(f"job / read_csv    {ratios[0]:.2f} .. {statistics.median(ratios):.2f} .. {ratios[-1]:.2f} times")
        for stage, seconds in stages.items():
            print(f"{stage:17} {rows / seconds:12,.0f} rows/s alone")


def seconds_of_read_csv(path: pathlib.Path) -> float:
    return seconds_of(lambda: pl.read_csv(path, separator="\t", has_header=False))


def seconds_of_preprocessing(path: pathlib.Path) -> float:
    shutil.rmtree(path.parent / "mindrecord", ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return seconds_of(lambda: preprocess_data.main([f"--data_path={path.parent}", "--train_line_count=0"]))


def seconds_of_stages(path: pathlib.Path) -> dict[str, float]:
    """Return the seconds of each stage, run one by one: text to spill, counts to encoder, to arrays, to shards."""
    config = load_config([])
    schema = FieldSchema(config.dense_dim, config.slot_dim)
    splits = KeySplits.from_ratios(config.split_seed, config.valid_ratio, config.test_ratio)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        spill = pathlib.Path(folder, "spill")
        job = Job(
            path, schema, splits, spill, {}, config.max_bad_line_ratio, config.threshold, config.line_per_sample,
            config.memory_limit,
        )  # fmt: skip
        stages = SingleProcess(job)
        seconds, start = {}, time.perf_counter()

        def lap(stage):
            nonlocal start
            seconds[stage] = time.perf_counter() - start
            start = time.perf_counter()

        rows = stages.read()
        lap("read")
        counts = stages.count(rows)
        encoding = DenseEncoding(config.dense_encoding)
        encoder = FeatureEncoder.fit(schema, counts, rows.count("train"), encoding, config.threshold)
        lap("count")
        bits = bucket_bits(path, rows.good_lines, config.memory_limit)
        encoded = list(encode_buckets(Spill(spill, {}).buckets(bits), encoder))
        lap("encode")
        writer = SplitWriter(folder, "train", config.line_per_sample)
        for rows in encoded:
            writer.add(rows.columns)
        writer.finish()
        lap("write")
    return seconds


def seconds_of(work: Callable[[], None]) -> float:
    os.sync()  # earlier writes are not to reach the disk meanwhile
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
