# SPDX-License-Identifier: Apache-2.0
"""Standard streams that are closed, broken or full: printing neither raises an exception nor ends a run."""

import errno
import io
import os
import select
import sys

_stdout_file = None  # the _LenientFile behind sys.stdout, once protect_streams() has run


def fill_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed.

    Otherwise the next file that the process opens would get the descriptor, and native code that logs to it would write
    into that file.  This must run before anything opens a file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            os.dup2(opened, number)
            if opened != number:
                os.close(opened)
            os.set_inheritable(number, True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)


def use_utf8_paths() -> None:
    """Restart the process in Python's UTF-8 mode if the locale has another encoding and an argument is not ASCII.

    MindSpore takes paths as UTF-8 whatever the locale is.  Printed text keeps the encoding of the locale.
    """
    if sys.getfilesystemencoding() == "utf-8" or all(argument.isascii() for argument in sys.argv):
        return
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def protect_streams() -> None:
    """Print characters that the encoding lacks as escapes, and drop output that cannot be written."""
    global _stdout_file
    if sys.stdout is sys.__stdout__ or sys.__stdout__ is None:
        sys.stdout, _stdout_file = _lenient(sys.stdout)
    if sys.stderr is sys.__stderr__ or sys.__stderr__ is None:
        sys.stderr, _ = _lenient(sys.stderr)


def check_stdout() -> None:
    """Raise OSError if printed text was lost, unless the reader has closed the pipe (`| head`), which is its choice."""
    sys.stdout.flush()
    error = _stdout_file and _stdout_file.error
    if error and error.errno != errno.EPIPE:
        raise OSError(error.errno, f"standard output cannot be written: {error.strerror}")


class _LenientFile(io.FileIO):
    """A standard stream whose writes do not fail; `error` is the OSError after which all output is dropped."""

    def __init__(self, number):
        super().__init__(number, "w", closefd=False)
        self.error = None

    def write(self, content):
        while self.error is None:
            try:
                written = super().write(content)
            except OSError as error:
                self.error = error
            else:
                if written is not None:
                    return written
                select.select([], [self], [])  # the pipe is full, and another process has made it non-blocking
        return len(content)


def _lenient(stream):
    """Return a stream with the descriptor, encoding and buffering of `stream`, and its _LenientFile."""
    file = _LenientFile(stream.fileno())
    try:
        stream.flush()
    except OSError as error:
        file.error = error
    buffer = file if stream.write_through else io.BufferedWriter(file)
    text = io.TextIOWrapper(
        buffer, encoding=stream.encoding, errors="backslashreplace", line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )  # fmt: skip
    return text, file
