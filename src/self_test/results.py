# SPDX-License-Identifier: Apache-2.0
"""The results of a rank: the table that it prints, and the file to attach to a bug report."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from src.common.files import write_text
from src.self_test.check import HEADER, Record, Status


def file_name(rank: int | None, count: int) -> str:
    """Return the name of the file of a rank, in the working folder.  rank: None if it is not known."""
    if count == 1:
        return "self_test.json"
    return f"self_test_rank{rank}.json" if rank is not None else f"self_test_process{os.getpid()}.json"


class Results:
    """The file of a rank, which is complete after each check, so also after a crash, and its lines on the terminal.

    The first rank prints the check that runs, and a table at the end: in between MindSpore prints what it likes.
    Another rank prints and writes nothing unless it fails a check, and that at once, as its end may end the others.
    """

    def __init__(self, rank: int | None, count: int, command: str, started: str):
        self.path = pathlib.Path(file_name(rank, count))
        self._is_first, self._prefix = rank == 0, f"rank {rank}: " if count > 1 else ""
        self._records: list[Record] = []
        self._content: dict = {"command": command, "started": started, "machine": {}, "checks": []}
        if self._is_first:
            self._print(f"the results go to {self.path}, after each check")
        else:
            self.path.unlink(missing_ok=True)  # of an earlier run

    def describe(self, rows: Mapping[str, str | list[str]]) -> None:
        """Add descriptions of the machine; those that are a list of lines are too long to be printed."""
        self._content["machine"] |= rows
        self._write()
        if self._is_first:
            for name, value in rows.items():
                if isinstance(value, str):
                    print(f"{name:11} {value}", flush=True)

    def describe_start(self, variables: dict[str, str], launcher: str) -> None:
        """Add the environment with which the process has started, and the launcher that it is taken to have."""
        self._content |= {"environment": variables, "launcher": launcher}
        self._write()

    def begin(self, name: str) -> None:
        """Tell which check is about to run: the file shows it if the process does not come back."""
        self._content["running"] = name
        self._write()
        if self._is_first:
            print(f"running {name}", flush=True)

    def add(self, record: Record) -> None:
        """Add the result of a check."""
        self._records.append(record)
        self._content["checks"].append(record.to_json())
        self._content.pop("running", None)
        self._write()
        if record.is_failure and not self._is_first:
            self._print(record.row())

    def end(self) -> None:
        """Add the verdict."""
        verdict = describe(self._records)
        self._content["verdict"] = verdict
        self._write()
        if self._is_first:
            print("\n".join(["", HEADER, *(record.row() for record in self._records)]))
        if self._is_first or self.failures:
            self._print(f"{verdict}; attach {self.path} to a bug report")

    @property
    def failures(self) -> int:
        """The number of checks that have failed."""
        return sum(record.is_failure for record in self._records)

    def _print(self, text):
        print(f"{self._prefix}{text}", flush=True)

    def _write(self):
        if self._is_first or self.failures:
            write_text(self.path, format_json(self._content) + "\n")


def describe(records: Sequence[Record]) -> str:
    """Return the verdict."""
    counts = {status: sum(record.result.status is status for record in records) for status in Status}
    tested = counts[Status.PASS] + counts[Status.FAIL]
    failed = f"FAILED: {counts[Status.FAIL]}" if counts[Status.FAIL] else f"passed: {tested}"
    return f"{failed} of {tested} checks, {counts[Status.NOT_TESTED]} not tested"


def format_json(content: object, indent: str = "") -> str:
    """Return JSON with an item a line, but a list of numbers on one line."""
    inner = indent + " "
    if isinstance(content, dict) and content:
        items = [f"{inner}{json.dumps(key)}: {format_json(value, inner)}" for key, value in content.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(content, list | tuple) and any(isinstance(each, str | dict) for each in content):
        return "[\n" + ",\n".join(inner + format_json(each, inner) for each in content) + f"\n{indent}]"
    return json.dumps(content)
