# SPDX-License-Identifier: Apache-2.0
import pytest

from src.common.errors import ConfigError
from src.common.flags import Flag, describe_ignored, parse_flags, suggestion
from src.common.values import INTS, TEXTS, Values

FLAGS = {
    "size": Flag("Sizes", "[8]", "units, at 50 % of the cost", Values(INTS, at_least=1)),
    "ratio": Flag("Sizes", "0.1", "fraction", Values(float, at_most=1)),
    "hook": Flag("Hooks", "none", "a function", Values(TEXTS)),
}


def test_given_flags_stay_text_and_repeatable_ones_become_lists():
    given, unknown = parse_flags(FLAGS, ["--ratio", "x", "--hook=a", "--ratio=0.5", "--hook=b"], None)
    assert given == {"ratio": "0.5", "hook": ["a", "b"]}
    assert unknown == []


def test_unknown_flags_are_returned_without_their_values():
    assert parse_flags(FLAGS, ["--rat=0.5", "--token=secret", "word"], None) == ({}, ["--rat", "--token", "word"])


def test_a_flag_without_a_value_is_a_mistake_in_one_line():
    with pytest.raises(ConfigError, match=r"^argument --ratio: expected one argument; --help lists the flags$"):
        parse_flags(FLAGS, ["--ratio"], None)


def test_help_shows_groups_defaults_and_bounds(capsys):
    with pytest.raises(SystemExit):
        parse_flags(FLAGS, ["--help"], "Do nothing.")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "Do nothing." in lines
    assert lines[lines.index("Sizes:") + 1] == "--size INT,... units, at 50 % of the cost (default: [8]; at least 1)"
    assert lines[lines.index("Hooks:") + 1] == "--hook TEXT a function (default: none)"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("rato", "; did you mean --ratio?"), ("zzz", "; --help lists the known ones")],
)
def test_the_nearest_name_is_suggested_if_one_is_near(name, expected):
    assert suggestion(name, FLAGS, "--") == expected


def test_ignored_flags_are_described_in_one_line_or_not_at_all():
    assert describe_ignored([], FLAGS) == describe_ignored(["secret"], FLAGS) == ""
    assert describe_ignored(["--token", "--rati", "secret"], FLAGS) == (
        "ignored, not settings of this script: --token, --rati (did you mean --ratio?)"
    )
