# SPDX-License-Identifier: Apache-2.0
"""What a user can mend, and how an entry point ends when it meets it."""

import os
import sys

from src.common.console import check_stdout
from src.common.signals import Stopped


class UserError(ValueError):
    """A mistake in what the user gave; the message names the place, the rule and the way out, in one line."""


class ConfigError(UserError):
    """A setting that does not exist or has a value that it cannot have."""


def run_main(main, prints_result=False):
    """Run `main`; on a mistake of the user's print one line to stderr and exit with status 2.

    Stopped by a signal, the status is 128 and its number, as of a process that the signal ended.
    prints_result: whether the printed text is the result, so that losing it is an error; otherwise it is noted.
    """
    try:
        _run(main, prints_result)
    except (UserError, OSError, MemoryError) as error:
        sys.exit(report(error))
    except UnicodeEncodeError as error:  # of a call of MindSpore
        sys.exit(report(f"{error.object!a}: MindSpore takes UTF-8 text only; rename the path, or set LC_ALL=C.UTF-8"))
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
        print(f"note: {error.strerror}; the work is done all the same", file=sys.stderr)


def report(error):
    """Say on stderr, in one line, what is wrong; return the exit status for it."""
    is_text = isinstance(error, OSError) and error.strerror and not error.filename
    text = error.strerror if is_text else str(error) or "the memory is exhausted"
    print(f"{_in_red('error:')} {' '.join(text.split())}", file=sys.stderr)
    return 2


def _in_red(text):
    """Return `text` as a terminal shows it in red; plain elsewhere, and where NO_COLOR (no-color.org) is set."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[1;31m{text}\033[0m"
