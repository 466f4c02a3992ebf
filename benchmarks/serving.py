# SPDX-License-Identifier: Apache-2.0
"""Throughput and latency of the server: .venv-serve/bin/python benchmarks/serving.py --model_path=model

Starts serve.py with the interpreter that runs this script.  The load generator hey (Debian: apt-get install hey) sends
raw rows to it from the same machine: as fast as 1, 16 and 256 connections can, with 1 and 100 rows per request, then
one row at a constant rate, of which no request may be left out because an answer is slow.  The loads take turns; a
figure is the median of the rounds.
"""

import argparse
import csv
import itertools
import json
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONNECTIONS, ROWS = (1, 16, 256), (1, 100)
RATE, RATE_CONNECTIONS = 200, 2  # requests/s, and the connections that share them: more send in bursts
SMALLEST_RATE_FRACTION = 0.95  # of the requests of a constant rate that must have been sent
WARM_UP_SECONDS = 1  # in which all connections are opened
MAX_ROWS_IN_FLIGHT = max(CONNECTIONS) * max(ROWS)  # so that none is refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model_path", type=pathlib.Path, required=True, help="folder of a model package")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="in which all take turns (default: 3)")
    arguments = parser.parse_args()
    if not shutil.which("hey"):
        sys.exit("the load generator hey is missing; apt-get install hey")
    with tempfile.TemporaryDirectory() as work:
        bodies = {count: write_body(arguments.model_path, count, pathlib.Path(work)) for count in ROWS}
        server, url = start_server(arguments.model_path)
        try:
            measure(url, bodies, arguments.seconds, arguments.rounds)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def write_body(model_path, row_count, folder):
    """Write the body of a request with golden rows of the package; return its path."""
    lines = (model_path / "golden_rows.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    rows = list(itertools.islice(itertools.cycle(lines), row_count))
    path = folder / f"{row_count}.json"
    inputs = [{"name": "rows", "shape": [row_count], "datatype": "BYTES", "data": rows}]
    path.write_text(json.dumps({"inputs": inputs}), encoding="utf-8")
    return path


def start_server(model_path):
    """Return the process of a server, and the address that infers."""
    flags = ["--port=0", "--grpc_port=0", f"--max_rows_in_flight={MAX_ROWS_IN_FLIGHT}"]
    command = [sys.executable, ROOT / "serve.py", f"--model_path={model_path}", *flags]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    first_line = server.stdout.readline()
    return server, f"{re.search(r'http://[^,]*', first_line)[0]}/v2/models/deepfm/infer"


def measure(url, bodies, seconds, rounds):
    """Print requests/s and latency for each load."""
    loads = {
        (f"{connections:4} connections", rows): ["-c", str(connections)]
        for rows, connections in itertools.product(ROWS, CONNECTIONS)
    }
    rate_flags = ["-c", str(RATE_CONNECTIONS), "-q", str(RATE // RATE_CONNECTIONS)]
    loads[f"{RATE} requests/s", 1] = rate_flags
    results = {load: [] for load in loads}
    for _ in range(rounds):
        for (name, rows), flags in loads.items():
            results[name, rows].append(run_hey(url, bodies[rows], flags, seconds))
            if flags is rate_flags and results[name, rows][-1][0] < SMALLEST_RATE_FRACTION * RATE:
                sys.exit(f"the server or the load generator does not keep up with {RATE} requests/s")
    print(f"{'load':18} {'rows':>5} {'requests/s':>11} {'rows/s':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for (name, rows), measured in results.items():
        rate, p50, p99 = (statistics.median(column) for column in zip(*measured))
        print(f"{name:18} {rows:5} {rate:11,.0f} {rate * rows:9,.0f} {p50:8.2f} {p99:8.2f}")


def run_hey(url, body, flags, seconds):
    """Return requests/s, and the p50 and p99 of the latency in ms, after a warm-up."""
    duration = f"{WARM_UP_SECONDS + seconds}s"
    command = ["hey", "-z", duration, *flags, "-m", "POST", "-T", "application/json", "-D", body, "-o", "csv", url]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    responses = [row for row in csv.DictReader(printed.splitlines()) if float(row["offset"]) >= WARM_UP_SECONDS]
    statuses = {response["status-code"] for response in responses}
    if statuses != {"200"}:
        sys.exit(f"responses with the statuses {', '.join(sorted(statuses))}")
    milliseconds = [1000 * float(response["response-time"]) for response in responses]
    percentiles = statistics.quantiles(milliseconds, n=100, method="inclusive")
    return len(responses) / seconds, percentiles[49], percentiles[98]


if __name__ == "__main__":
    main()
