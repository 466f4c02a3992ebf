# SPDX-License-Identifier: Apache-2.0
"""Mistakes of a user, and how an entry point ends when it meets one."""

import os
import sys
from collections.abc import Callable

from src.common.console import check_stdout
from src.common.signals import Stopped


class UserError(ValueError):
    """A mistake in the user's input; the message names the flag or the file, the rule and the fix, in one line."""


class ConfigError(UserError):
    """A setting that does not exist or has an invalid value."""


def run_main(main: Callable[[], object], *, prints_result: bool = False) -> None:
    """Run `main`; on a user's mistake print one line to stderr and exit with status 2.

    After a signal the exit status is 128 + the signal's number, as a shell reports a process that a signal ended.
    prints_result: whether the printed text is the result: losing it is then an error, otherwise only a note.
    """
    try:
        _run(main, prints_result)
    except (UserError, OSError, MemoryError) as error:
        sys.exit(report_error(error))
    except UnicodeEncodeError as error:  # raised by calls into MindSpore
        sys.exit(
            report_error(f"{error.object!a}: MindSpore takes UTF-8 text only; rename the path, or set LC_ALL=C.UTF-8")
        )
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(main, prints_result):
    """Run `main`; raise OSError if its result, or its --help, could not be printed."""
    try:
        main()
    except SystemExit as end:
        if not end.code:
            check_stdout()
        raise
    try:
        check_stdout()
    except OSError as error:
        if prints_result:
            raise
        print(f"note: {error.strerror}; the work itself is complete", file=sys.stderr)


def report_error(error: BaseException | str) -> int:
    """Print an error to stderr, in one line; return the exit status for it."""
    text = str(error) or "out of memory"
    if isinstance(error, OSError) and error.strerror and not error.filename:
        text = error.strerror
    print(f"{_in_red('error:')} {' '.join(text.split())}", file=sys.stderr)
    return 2


def _in_red(text):
    """Return `text` in red on a terminal; unchanged elsewhere, and where NO_COLOR (no-color.org) is set."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[1;31m{text}\033[0m"
