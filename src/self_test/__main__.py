# SPDX-License-Identifier: Apache-2.0
"""Test this device: python -m src.self_test --device_target=Ascend"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter(
        "Compare what this device computes with stored values of a CPU, in a few minutes; the results go to "
        "self_test.json in the working folder.",
        distributed=True,
    )

import functools
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence

from src.common.accelerators import find_accelerator
from src.common.errors import run_main
from src.common.output_paths import Kind, Output, prepared
from src.config import Config, load_config
from src.distributed.device import set_up
from src.distributed.environment import Launcher, read_launcher
from src.self_test.commands import scratch_folder
from src.self_test.machine import describe_launcher, describe_software, describe_toolkit, describe_variables
from src.self_test.reference import load_reference
from src.self_test.results import Results, file_name
from src.self_test.suite import command_checks, device_check, device_checks, rank_checks, run_checks


def main(argv: Sequence[str] | None = None) -> None:
    """Run the self-test; exit with status 1 if a check fails.  argv: flags, those of the command line if None."""
    config, launcher = load_config(argv), read_launcher()
    if launcher.is_scheduler:
        set_up(config.device_target, config.device_id)  # serves the ranks, and ends the process after them
    path = file_name(launcher.rank, launcher.count)
    command = shlex.join(["python", "-m", "src.self_test", *(sys.argv[1:] if argv is None else argv)])
    with prepared([Output("", path, Kind.FILE, setting=path, hint="start it in another folder")]):
        results = Results(launcher.rank, launcher.count, command, time.strftime("%Y-%m-%d %H:%M:%S"))
        test(config, launcher, results)
        results.end()
    if results.failures:
        sys.exit(1)


def test(config: Config, launcher: Launcher, results: Results) -> None:
    """Run all checks; those that need a device only if it can be selected."""
    target = config.device_target if config.device_target != "auto" else find_accelerator() or "CPU"
    # The CPU has no number, whatever a platform has set for its accelerators.
    device_id = config.device_id if target == "CPU" else launcher.device_id(config.device_id)
    reference = load_reference()
    results.describe_start(describe_variables(), describe_launcher(launcher))
    results.describe(describe_software())
    results.describe(describe_toolkit(target))
    run_checks(command_checks(config, device_id, reference, is_alone=launcher.count == 1), results)
    settings = (config.device_target, config.device_id, config.jit_level, config.convert_dtype)
    select = functools.cache(lambda: set_up(*settings, has_dropout=True))
    if not run_checks([device_check(config.convert_dtype, select)], results):
        return
    device, ranks = select()
    with scratch_folder() as folder:
        run_checks(device_checks(config, device, ranks, reference, pathlib.Path(folder)), results)
    run_checks(rank_checks(ranks, results.failures), results)


if __name__ == "__main__":
    run_main(main)
