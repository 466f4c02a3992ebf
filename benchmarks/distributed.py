# SPDX-License-Identifier: Apache-2.0
"""Speed of preprocessing on Dask, and what Criteo's terabyte would take: python benchmarks/distributed.py

Rows per second with one and two single-threaded workers, and of two independent processes that preprocess one half of
the rows each at the same time (both without the start of the processes); they take turns, as machines change their
speed.  Then the bytes that pass between the workers, the time of the scheduler for a task with as many tasks as the
terabyte's 24 files would have, and a model of the terabyte fitted to all this.
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # instead of the folder of this file, which has the name of Dask's package

from src.preprocessing import allocator

os.environ.setdefault(allocator.VARIABLE, allocator.KEEP_FREED)  # as preprocessing has it when started as a script

import psutil

from distributed import Client, LocalCluster
from src import preprocess_data
from src.criteo_like import write_rows
from src.preprocessing.cluster.connection import SETTINGS, Connection, settings

TASKS = ("shard_tasks", "count_tasks", "row_tasks")
TERABYTE_ROWS, TERABYTE_FILES = 4_400_000_000, 24
STAGES = 5  # lines, rows, sums, counts, shards; none has more tasks than the terabyte has pieces
WORKER_COUNTS = (8, 32, 128)
NVTABULAR_MINUTES = 13.8  # on one A100: NVIDIA, "Scaling Criteo"
SLEEP_SECONDS, SLEEPING_PROCESSES, SLEEPING_THREADS = 0.02, 2, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000, help="generated rows (default: 4000000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated rows (default: 1)")
    parser.add_argument("--runs", type=int, default=3, help="of each (default: 3)")
    parser.add_argument("--pieces", type=int, default=1000, help="tasks for each file of the terabyte (default: 1000)")
    parser.add_argument(
        "--storage", type=float, default=10, help="GB/s of the shared folder in the model (default: 10)"
    )
    parser.add_argument("--work", type=pathlib.Path, help="folder for the files (default: the system's temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        cost = measure_speed(pathlib.Path(work), arguments)
        tasks = TERABYTE_FILES * arguments.pieces
        seconds_of_task = measure_scheduler(pathlib.Path(work), tasks)
    bytes_of_row = (cost.read + cost.written) / arguments.rows
    print_model(cost.cpu_seconds / arguments.rows, bytes_of_row, STAGES * tasks * seconds_of_task, arguments.storage)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a run takes: seconds, and processor seconds of all processes; of the workers the bytes that they read and
    write in files, and their transfers from each other by Dask.
    """

    seconds: float
    cpu_seconds: float
    read: int = 0
    written: int = 0
    transfers: int = 0


def measure_speed(work: pathlib.Path, arguments: argparse.Namespace) -> Cost:
    """Print the speed of independent processes and of workers; return the Cost of a row with one worker."""
    write_rows(work / "train.txt", arguments.rows, arguments.seed)
    size = (work / "train.txt").stat().st_size
    print(f"{arguments.rows:,} generated rows, seed {arguments.seed}, {size / 1e6:,.0f} MB")
    halves = split_file(work / "train.txt", arguments.rows // 2)
    costs: dict[str, list[Cost]] = {"2 independent processes": [], "1 worker": [], "2 workers": []}
    for _ in range(arguments.runs):
        costs["2 independent processes"].append(cost_of_processes(halves))
        costs["1 worker"].append(cost_of_cluster(work, 1))
        costs["2 workers"].append(cost_of_cluster(work, 2))
    for name, values in costs.items():
        seconds, cpu = (statistics.median(getattr(cost, key) for cost in values) for key in ("seconds", "cpu_seconds"))
        print(f"{name:25} {arguments.rows / seconds:10,.0f} rows/s, {1e6 * cpu / arguments.rows:.2f} us of a processor "
              "for a row")  # fmt: skip
    for key, name in (("seconds", "time"), ("cpu_seconds", "processor time")):
        pairs = zip(costs["2 independent processes"], costs["2 workers"])
        ratios = sorted(getattr(alone, key) / getattr(together, key) for alone, together in pairs)
        print(f"efficiency by {name:14} {ratios[0]:.2f} .. {statistics.median(ratios):.2f} .. {ratios[-1]:.2f}")
    last = costs["2 workers"][-1]
    print(f"files of 2 workers: {last.read / arguments.rows:,.0f} bytes read and {last.written / arguments.rows:,.0f} "
          f"written for a row; {last.transfers} transfers by Dask")  # fmt: skip
    cpu = statistics.median(cost.cpu_seconds for cost in costs["1 worker"])
    return Cost(cpu, cpu, last.read, last.written)


def split_file(path: pathlib.Path, line_count: int) -> list[pathlib.Path]:
    """Write the first lines and the others to folders of their own; return the folders."""
    folders = [path.parent / "first", path.parent / "second"]
    for folder in folders:
        folder.mkdir()
    with path.open("rb") as rows, (folders[0] / "train.txt").open("wb") as first:
        first.writelines(rows.readline() for _ in range(line_count))
        with (folders[1] / "train.txt").open("wb") as second:
            shutil.copyfileobj(rows, second)
    return folders


def cost_of_processes(folders: list[pathlib.Path]) -> Cost:
    """Return the Cost of preprocessing the rows of each folder in a process of its own, all at the same time."""
    with multiprocessing.get_context("spawn").Pool(len(folders)) as pool:
        pool.map(abs, range(len(folders)), chunksize=1)  # they have started
        os.sync()
        starts, ends, cpu_seconds = zip(*pool.map(preprocess, folders, chunksize=1))
    return Cost(max(ends) - min(starts), sum(cpu_seconds))


def preprocess(folder: pathlib.Path, *flags: str) -> tuple[float, float, float]:
    """Preprocess the rows of a folder; return the times of the beginning and of the end, and the processor seconds."""
    shutil.rmtree(folder / "mindrecord", ignore_errors=True)
    start, start_cpu = time.monotonic(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        preprocess_data.main([f"--data_path={folder}", "--train_line_count=0", *flags])
    return start, time.monotonic(), time.process_time() - start_cpu


def cost_of_cluster(folder: pathlib.Path, workers: int) -> Cost:
    """Return the Cost of preprocessing the rows of a folder with so many workers; the scheduler is in this process."""
    with (
        settings(),
        LocalCluster(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for name in TASKS:  # as in the independent processes, which import MindSpore late, too
            client.run(importlib.import_module, f"src.preprocessing.cluster.{name}")
        os.sync()
        before = client.run(worker_usage)
        start, end, own_cpu = preprocess(folder, f"--scheduler={cluster.scheduler_address}")
        after = client.run(worker_usage)
    cpu, *counts = (sum(after[worker][index] - before[worker][index] for worker in after) for index in range(4))
    return Cost(end - start, own_cpu + cpu, *counts)


def worker_usage(dask_worker: object) -> tuple[float, int, int, int]:
    """Return the last four fields of the Cost of a worker so far."""
    files = psutil.Process().io_counters()
    transfers = dask_worker.state.transfer_incoming_count_total
    return cpu_seconds(psutil.Process()), files.read_chars, files.write_chars, transfers


def measure_scheduler(work: pathlib.Path, count: int) -> float:
    """Print what the scheduler takes for so many small tasks; return its processor seconds for one."""
    calls = [(f"parsed-66-16/{number:06d}", "/data/day_0/train.txt", number << 28) for number in range(count)]
    from benchmarks.distributed import sleep  # under a name that the workers know, too

    with started_cluster(work) as (scheduler, address), Client(address) as client:
        client.wait_for_workers(SLEEPING_PROCESSES)
        connection = Connection(client)
        connection.run(sleep, calls[:100], lambda *_: None)  # the workers have imported everything
        start, start_cpu, start_client = time.monotonic(), cpu_seconds(scheduler), time.process_time()
        connection.run(sleep, calls, lambda *_: None)
        seconds, own = time.monotonic() - start, time.process_time() - start_client
        scheduler_seconds = cpu_seconds(scheduler) - start_cpu
    threads = SLEEPING_PROCESSES * SLEEPING_THREADS
    print(f"{count:,} tasks that sleep {1000 * SLEEP_SECONDS:.0f} ms, {threads} at once: {seconds:.1f} s instead of "
          f"{count * SLEEP_SECONDS / threads:.1f} s; {count / seconds:,.0f} tasks/s")  # fmt: skip
    print(f"processor time of a task  {1e6 * scheduler_seconds / count:10,.0f} us in the scheduler, "
          f"{1e6 * own / count:,.0f} us in the client")  # fmt: skip
    return scheduler_seconds / count


@contextlib.contextmanager
def started_cluster(work: pathlib.Path) -> Iterator[tuple[psutil.Process, str]]:
    """Start a scheduler and workers, as a user does; yield the process of the scheduler and its address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_CONFIG": str(SETTINGS)}
    command = [sys.executable, "-m", "dask"]
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    address_file = work / "scheduler.json"
    processes = [
        subprocess.Popen([*command, "scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard",
                          f"--scheduler-file={address_file}"], **quiet)
    ]  # fmt: skip
    try:
        while not address_file.exists() or not address_file.read_text().strip().endswith("}"):
            time.sleep(0.1)
        address = json.loads(address_file.read_text())["address"]
        processes.append(subprocess.Popen([*command, "worker", address, f"--nworkers={SLEEPING_PROCESSES}",
                                           f"--nthreads={SLEEPING_THREADS}", "--no-dashboard"], **quiet))  # fmt: skip
        yield psutil.Process(processes[0].pid), address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def sleep(folder: str, path: str, start: int) -> dict:
    """Sleep, and return a result of about the size of a parsed piece."""
    time.sleep(SLEEP_SECONDS)
    stats = {"lines": start, "bytes": start, "labels": {name: [start, start] for name in ("train", "valid", "test")}}
    return {"stats": stats, "runs": [{"name": "run-0", "rows": start, "wide": {}}]}


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def print_model(seconds_of_row: float, bytes_of_row: float, scheduler_seconds: float, storage: float) -> None:
    """Print a model of the terabyte: each resource alone; the slowest one is the bottleneck.

    seconds_of_row: of a processor, with one worker.  scheduler_seconds: for all tasks.  storage: GB/s.
    """
    print(
        f"model of {TERABYTE_ROWS:,} rows, minutes of each resource alone (NVTabular on an A100: {NVTABULAR_MINUTES})"
    )
    print(
        f"workers   processors   shared folder of {storage:g} GB/s   scheduler   bottleneck     GB/s to be without it"
    )
    for workers in WORKER_COUNTS:
        minutes = {
            "processors": TERABYTE_ROWS * seconds_of_row / workers / 60,
            "shared folder": TERABYTE_ROWS * bytes_of_row / storage / 1e9 / 60,
            "scheduler": scheduler_seconds / 60,
        }
        bottleneck = max(minutes, key=minutes.get)
        needed = TERABYTE_ROWS * bytes_of_row / 1e9 / (minutes["processors"] * 60)
        columns = [f"{workers:7}", f"{minutes['processors']:12.1f}", f"{minutes['shared folder']:27.1f}"]
        print(*columns, f"{minutes['scheduler']:11.1f}", f"  {bottleneck:14}", f"{needed:8.1f}")


if __name__ == "__main__":
    main()
