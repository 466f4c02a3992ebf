# SPDX-License-Identifier: Apache-2.0
"""Test this device: python -m src.self_test --device_target=Ascend"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Compare what this device computes with stored values of a CPU, in a few minutes; the results go to "
        "self_test.json in the working folder.",
        distributed=True,
    )

import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

from src.common.errors import run_main
from src.common.output_paths import Kind, Output, prepared
from src.config import Config, load_config
from src.distributed.device import set_up
from src.distributed.environment import read_launcher
from src.self_test.check import Record, Status
from src.self_test.commands import scratch_folder
from src.self_test.machine import describe_device, describe_software, describe_variables
from src.self_test.reference import load_reference
from src.self_test.result_file import ResultFile, file_name
from src.self_test.suite import command_checks, device_checks, rank_checks, run_checks


def main(argv: Sequence[str] | None = None) -> None:
    """Run the self-test; exit with status 1 if a check fails.  argv: flags, those of the command line if None."""
    config, launcher = load_config(argv), read_launcher()
    path = file_name(launcher.count)
    is_first = launcher.rank == 0 and not launcher.is_scheduler
    command = shlex.join(["python", "-m", "src.self_test", *(sys.argv[1:] if argv is None else argv)])
    with prepared([Output("", path, Kind.FILE, setting=path, hint="start it in another folder")]):
        file = ResultFile(pathlib.Path(path) if is_first else None, command, time.strftime("%Y-%m-%d %H:%M:%S"))
        records = test(config, launcher.count == 1, file, prints=is_first)
        text = describe(records)
        file.end(text)
    if is_first:
        print(f"{text}; attach {path} to a bug report")
    if any(record.result.status is Status.FAIL for record in records):
        sys.exit(1)


def test(config: Config, is_alone: bool, file: ResultFile, *, prints: bool) -> list[Record]:
    """Run all checks; return their records."""
    reference = load_reference()
    show(describe_software(), file, prints=prints)
    records = run_checks(command_checks(config, reference, is_alone=is_alone), file, prints=prints)
    device, ranks = set_up(config.device_target, config.device_id, config.jit_level, has_dropout=True)
    show(describe_device(device), file, prints=prints)
    file.add_machine(describe_variables())
    with scratch_folder() as folder:
        checks = device_checks(config, device, ranks, reference, pathlib.Path(folder))
        records += run_checks(checks, file, prints=prints)
    failures = sum(record.result.status is Status.FAIL for record in records)
    return records + run_checks(rank_checks(ranks, failures), file, prints=prints)


def show(rows: dict[str, str], file: ResultFile, *, prints: bool) -> None:
    """Print what is known of the machine, and add it to the file."""
    file.add_machine(rows)
    if prints:
        for name, value in rows.items():
            print(f"{name:11} {value}", flush=True)


def describe(records: Sequence[Record]) -> str:
    """Return the verdict."""
    counts = {status: sum(record.result.status is status for record in records) for status in Status}
    tested = counts[Status.PASS] + counts[Status.FAIL]
    failed = f"FAILED: {counts[Status.FAIL]}" if counts[Status.FAIL] else f"passed: {tested}"
    return f"{failed} of {tested} checks, {counts[Status.NOT_TESTED]} not tested"


if __name__ == "__main__":
    run_main(main)
