# SPDX-License-Identifier: Apache-2.0
"""What a user can mend, and how an entry point ends when it meets it."""

import sys

from src.stopping import Stopped


class UserError(ValueError):
    """A mistake in what the user gave; the message names the place, the rule and the way out, in one line."""


class ConfigError(UserError):
    """A setting that does not exist or has a value that it cannot have."""


def exit_on_user_error(main):
    """Run `main`; on a mistake of the user's print one line to stderr and exit with status 2.

    Stopped by a signal, the status is 128 and its number, as of a process that the signal ended.
    """
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(_report(error))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(128 + stopped.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


def _report(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2
