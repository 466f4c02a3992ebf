# SPDX-License-Identifier: Apache-2.0
"""The file to attach to a bug report: it is complete after each check, so also after a crash."""

import json
import pathlib

from src.common.files import write_text
from src.self_test.check import Record

ONE_PROCESS, SEVERAL = "self_test.json", "self_test_ranks.json"


def file_name(rank_count: int) -> str:
    """Return the name of the file, in the working folder."""
    return ONE_PROCESS if rank_count == 1 else SEVERAL


class ResultFile:
    """The file of a run.  path: None for a rank that writes none."""

    def __init__(self, path: pathlib.Path | None, command: str, started: str):
        self._path = path
        self._content: dict = {"command": command, "started": started, "machine": {}, "checks": []}

    def add_machine(self, rows: dict[str, str]) -> None:
        """Add descriptions of the machine."""
        self._content["machine"] |= rows

    def begin(self, name: str) -> None:
        """Tell which check is about to run: the file shows it if the process does not come back."""
        self._content["running"] = name
        self._write()

    def add(self, record: Record) -> None:
        """Add the result of a check."""
        self._content["checks"].append(record.to_json())
        self._content.pop("running", None)
        self._write()

    def end(self, verdict: str) -> None:
        """Add the verdict."""
        self._content["verdict"] = verdict
        self._write()

    def _write(self):
        if self._path is not None:
            write_text(self._path, format_json(self._content) + "\n")


def format_json(content: object, indent: str = "") -> str:
    """Return JSON with an item a line, but a list of numbers on one line."""
    inner = indent + " "
    if isinstance(content, dict) and content:
        items = [f"{inner}{json.dumps(key)}: {format_json(value, inner)}" for key, value in content.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(content, list | tuple) and any(isinstance(each, str | dict) for each in content):
        return "[\n" + ",\n".join(inner + format_json(each, inner) for each in content) + f"\n{indent}]"
    return json.dumps(content)
