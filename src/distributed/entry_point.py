# SPDX-License-Identifier: Apache-2.0
"""What an entry point does first, before it imports anything that takes time."""

import signal


def enter(distributed=False, resume_hint=""):
    """Make the standard streams safe, let signals end the process in one line, and read what a launcher has said.

    distributed: whether the entry point may be one of several processes.  resume_hint: how to go on after a signal.
    Only the first milliseconds of the interpreter itself, before this call, are out of reach.
    """
    # Signals that come during the imports below are kept for handle_signals().
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])

    from src.common.console import fill_closed_streams, protect_streams, use_utf8_paths
    from src.common.errors import run_main
    from src.common.signals import handle_signals
    from src.distributed.environment import ALONE, MPIRUN, MSRUN, clear_other_launchers, read_launcher

    fill_closed_streams()
    use_utf8_paths()
    protect_streams()
    guard, launcher = None, ALONE

    def read():
        nonlocal launcher
        launcher = read_launcher()

    if distributed:
        run_main(read)
    if launcher.kind in (MSRUN, MPIRUN):
        from src.distributed import rank_guard

        guard = rank_guard.fork(launcher)
    clear_other_launchers(launcher)
    handle_signals(resume_hint, guard)
