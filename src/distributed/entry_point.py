# SPDX-License-Identifier: Apache-2.0
"""The first steps of an entry point, before it imports anything that takes time."""

import signal
import sys


def enter(
    description: str | None = None,
    *,
    needs: tuple[str, ...] = (),
    may_read: tuple[str, ...] = (),
    split: str | None = None,
    distributed: bool = False,
    resume_hint: str = "",
) -> None:
    """Prepare the process, and refuse mistakes in the command line.

    The standard streams become safe, signals end the process in one line, and the environment says which launcher has
    started it.  Only the first milliseconds of the interpreter itself, before this call, are out of reach.
    description: of the command, for --help; None if it does not take the flags of src.config.
    needs, may_read, split: its inputs, as check_inputs takes them.
    distributed: whether the entry point may be one of several processes, each on a device of its own.
    resume_hint: how to resume after a signal.
    """
    # Signals that come during the imports below are kept for handle_signals().
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])

    from src.common.console import fill_closed_streams, protect_streams, use_utf8_paths
    from src.common.errors import run_main
    from src.common.signals import handle_signals
    from src.distributed.environment import ALONE, MPIRUN, MSRUN, clear_other_launchers

    fill_closed_streams()
    use_utf8_paths()
    protect_streams()
    launcher, own_scheduler = _find_launcher() if distributed else (ALONE, None)
    guard = None
    if launcher.kind in (MSRUN, MPIRUN):
        from src.distributed import rank_guard

        guard = rank_guard.fork(launcher, own_scheduler)
    clear_other_launchers(launcher)
    handle_signals(resume_hint, guard)
    if description is not None:
        run_main(lambda: _check_command_line(description, needs, may_read, split, distributed, launcher.count))


def _find_launcher():
    """Return the Launcher of this process, and the scheduler if this process has started it; exit if it is invalid."""
    from src.common.errors import UserError, report_error
    from src.distributed.environment import RANK_TABLE, read_launcher

    try:
        launcher = read_launcher()
        if launcher.kind != RANK_TABLE:
            return launcher, None
        from src.distributed.table_start import start_as_msrun

        return start_as_msrun(launcher)
    except (UserError, OSError) as error:
        sys.exit(report_error(error))


def _check_command_line(description, needs, may_read, split, distributed, ranks):
    from src.common.accelerators import check_driver
    from src.config import load_config
    from src.input_checks import check_inputs, check_urls

    config = load_config(description=description)
    if distributed:
        check_driver(config.device_target)
    if not config.enable_modelarts:
        check_inputs(config, needs, may_read, split=split, ranks=ranks)
    elif distributed:  # of these commands a job can be made
        check_urls(config, needs_data="dataset_path" in needs, split=split)
