# SPDX-License-Identifier: Apache-2.0
"""Speed of preprocessing, compared with a plain polars.read_csv of the same file: python benchmarks/preprocess.py

Prints rows/s of the complete job (raw rows to committed MindRecord, without the start of the process), from text and
from Parquet, and of each stage alone; the time of the job as a multiple of read_csv's, and how many times as fast
Parquet is as text.  These take turns, as machines change their speed, each in a new process every time, as the memory
that one leaves behind slows down or speeds up the other.
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
from src.preprocessing.source import Source
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
        text, parquet = pathlib.Path(work, "train.txt"), pathlib.Path(work, "train.parquet")
        write_rows(text, arguments.rows, arguments.seed)
        print(f"{arguments.rows:,} generated rows, seed {arguments.seed}, {text.stat().st_size / 1e6:,.0f} MB")
        works = {
            "polars.read_csv": (seconds_of_read_csv, text),
            "complete job": (seconds_of_preprocessing, text),
            "from Parquet": (seconds_of_preprocessing, parquet),
            "read text": (seconds_of_reading, text),
            "read Parquet": (seconds_of_reading, parquet),
        }
        seconds: dict[str, list[float]] = {name: [] for name in works}
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as new_process:
            new_process.apply(write_parquet, [text, parquet])
            for _ in range(arguments.runs):
                for name, (work_of, path) in works.items():
                    seconds[name].append(new_process.apply(work_of, [path]))
            stages = new_process.apply(seconds_of_stages, [text])
    describe(seconds, stages, arguments.rows)


def describe(seconds: dict[str, list[float]], stages: dict[str, float], rows: int) -> None:
    """Print the rows/s of all works, by their seconds in each run, and of the stages, and the ratios."""
    for name, runs in seconds.items():
        print(f"{name:17} {rows / statistics.median(runs):12,.0f} rows/s")
    ratios = {
        "job / read_csv": ("complete job", "polars.read_csv"),
        "Parquet, job": ("complete job", "from Parquet"),
        "Parquet, read": ("read text", "read Parquet"),
    }
    for title, (slow, fast) in ratios.items():
        found = sorted(one / other for one, other in zip(seconds[slow], seconds[fast]))
        print(f"{title:17} {found[0]:.2f} .. {statistics.median(found):.2f} .. {found[-1]:.2f} times")
    for stage, taken in stages.items():
        print(f"{stage:17} {rows / taken:12,.0f} rows/s alone")


def write_parquet(text: pathlib.Path, parquet: pathlib.Path) -> None:
    """Write the rows of a text as Parquet, with Criteo's names of the columns."""
    schema = FieldSchema.criteo(13, 26)
    types = {schema.label_name: pl.Int64, **dict.fromkeys(schema.integer_names, pl.Int64)}
    types |= dict.fromkeys(schema.category_names, pl.String)
    pl.read_csv(text, separator="\t", has_header=False, schema=types, quote_char=None).write_parquet(parquet)


def seconds_of_read_csv(path: pathlib.Path) -> float:
    return seconds_of(lambda: pl.read_csv(path, separator="\t", has_header=False))


def seconds_of_preprocessing(path: pathlib.Path) -> float:
    shutil.rmtree(path.parent / "mindrecord", ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return seconds_of(lambda: preprocess_data.main([f"--data_path={path}", "--train_line_count=0"]))


def seconds_of_reading(path: pathlib.Path) -> float:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        stages = SingleProcess(job_of(path, pathlib.Path(folder, "spill")))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return seconds_of(stages.read)


def job_of(path: pathlib.Path, spill: pathlib.Path) -> Job:
    """Return the job of a file with the default configuration."""
    config = load_config([])
    return Job(
        source=Source((path,)),
        schema=FieldSchema.criteo(config.dense_dim, config.slot_dim),
        splits=KeySplits.from_ratios(config.split_seed, config.valid_ratio, config.test_ratio),
        time_split=None,
        spill=str(spill),
        identity={},
        max_bad_line_ratio=config.max_bad_line_ratio,
        threshold=config.threshold,
        rows_per_record=config.line_per_sample,
        memory_limit=config.memory_limit,
    )


def seconds_of_stages(path: pathlib.Path) -> dict[str, float]:
    """Return the seconds of each stage, run one by one: text to spill, counts to encoder, to arrays, to shards."""
    config = load_config([])
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        spill = pathlib.Path(folder, "spill")
        job = job_of(path, spill)
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
        encoder = FeatureEncoder.fit(job.schema, counts, encoding, config.threshold)
        lap("count")
        bits = bucket_bits(job.source.text_bytes, rows.good_lines, config.memory_limit)
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
