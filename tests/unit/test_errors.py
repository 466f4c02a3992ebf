# SPDX-License-Identifier: Apache-2.0
import pytest

from src.errors import ConfigError, UserError, exit_on_user_error


@pytest.mark.parametrize("error", [UserError("a\nb"), ConfigError("a b"), PermissionError(13, "a b")])
def test_a_mistake_of_the_users_is_one_line_and_status_2(capsys, error):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        exit_on_user_error(main)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert "a b" in lines[0]


def test_a_mistake_of_ours_keeps_its_traceback():
    def main():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        exit_on_user_error(main)
