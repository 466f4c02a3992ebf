# SPDX-License-Identifier: Apache-2.0
import os
import pty
import subprocess
import sys

import pytest

from src.common.errors import ConfigError, UserError, run_main
from tests.conftest import ROOT
from tests.processes import read_terminal


@pytest.mark.parametrize("error", [UserError("a\nb"), ConfigError("a b"), PermissionError(13, "a b")])
def test_a_user_s_mistake_ends_in_one_line_and_status_2(capsys, error):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        run_main(main)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "a b" in lines[0]


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"TERM": "xterm"}, "\033[1;31merror:\033[0m a b"),
        ({"TERM": "xterm", "NO_COLOR": ""}, "\033[1;31merror:\033[0m a b"),  # no-color.org: empty is not set
        ({"TERM": "xterm", "NO_COLOR": "1"}, "error: a b"),
        ({"TERM": "dumb"}, "error: a b"),
    ],
)
def test_a_terminal_shows_the_word_error_in_red_unless_no_color_or_dumb_is_set(environment, line):
    code = "from src.common.errors import *\ndef main():\n raise UserError('a b')\nrun_main(main)"
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    controller, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stderr=terminal, env=inherited | environment, check=False)
    os.close(terminal)
    assert read_terminal(controller) == f"{line}\r\n"


def test_a_bug_keeps_its_traceback():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run_main(main)
