# SPDX-License-Identifier: Apache-2.0
"""How fast preprocessing is, beside a plain polars.read_csv of the same file: python benchmarks/preprocess.py

Prints rows/s of the whole (raw text to committed MindRecord, without the start of the process) and of each stage alone,
and the time of the whole as a multiple of read_csv's. These two take turns, as machines change their speed, each in a
new process every time, as what one leaves in the memory is a burden or a help to the other.
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from src.preprocessing import allocator

os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)  # as preprocessing has it when started as a script

import polars as pl

from src import preprocess_data
from src.config import load_config
from src.criteo_like import write_rows
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.pipeline import block_size, bucket_bits, count_columns, encode_buckets, read_rows
from src.preprocessing.record_writer import SplitWriter
from src.preprocessing.schema import FieldSchema
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000, help="generated rows (default: 4000000)")
    parser.add_argument("--seed", type=int, default=1, help="of the generated rows (default: 1)")
    parser.add_argument("--runs", type=int, default=5, help="of the whole, and of read_csv (default: 5)")
    parser.add_argument("--work", type=pathlib.Path, help="folder for the files (default: the system's temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        path = pathlib.Path(work, "train.txt")
        write_rows(path, arguments.rows, arguments.seed)
        print(f"{arguments.rows:,} generated rows, seed {arguments.seed}, {path.stat().st_size / 1e6:,.0f} MB")
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as new_process:
            plain, whole = [], []
            for _ in range(arguments.runs):
                plain.append(new_process.apply(seconds_of_read_csv, [path]))
                whole.append(new_process.apply(seconds_of_preprocessing, [path]))
            stages = new_process.apply(seconds_of_stages, [path])
        rows = arguments.rows
        print(f"polars.read_csv   {rows / statistics.median(plain):12,.0f} rows/s")
        print(f"whole             {rows / statistics.median(whole):12,.0f} rows/s")
        ratios = sorted(ours / theirs for ours, theirs in zip(whole, plain))
        print(f"whole / read_csv  {ratios[0]:.2f} .. {statistics.median(ratios):.2f} .. {ratios[-1]:.2f} times")
        for stage, seconds in stages.items():
            print(f"{stage:17} {rows / seconds:12,.0f} rows/s alone")


def seconds_of_read_csv(path):
    return seconds_of(lambda: pl.read_csv(path, separator="\t", has_header=False))


def seconds_of_preprocessing(path):
    shutil.rmtree(path.parent / "mindrecord", ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return seconds_of(lambda: preprocess_data.main([f"--data_path={path.parent}", "--train_line_count=0"]))


def seconds_of_stages(path):
    """Return the seconds of each stage, one after the other: text to spill, counts to encoder, to arrays, to shards."""
    config = load_config([])
    schema = FieldSchema(config.dense_dim, config.slot_dim)
    splits = KeySplits.from_ratios(config.split_seed, config.valid_ratio, config.test_ratio)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        spill = Spill(pathlib.Path(folder, "spill"), {})
        seconds, start = {}, time.perf_counter()

        def lap(stage):
            nonlocal start
            seconds[stage] = time.perf_counter() - start
            start = time.perf_counter()

        rows = read_rows(path, schema, splits, spill, block_size(config.memory_limit))
        lap("read")
        counts = count_columns(spill, schema, rows, config.threshold, config.memory_limit)
        train_rows = rows.count("train")
        encoder = FeatureEncoder.fit(schema, counts, train_rows, config.dense_encoding, config.threshold)
        lap("count")
        bits = bucket_bits(path, rows.good_lines, config.memory_limit)
        encoded = list(encode_buckets(spill.buckets(bits), encoder))
        lap("encode")
        writer = SplitWriter(folder, "train", config.line_per_sample, ["sparse_ids", "dense_values", "label"])
        for _, columns in encoded:
            writer.add(columns)
        writer.close()
        writer.meta()
        lap("write")
    return seconds


def seconds_of(work):
    os.sync()  # what was written before is not to go to the disk meanwhile
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
