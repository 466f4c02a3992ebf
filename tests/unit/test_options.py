# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest

from src.common.errors import ConfigError
from src.common.options import describe_options, load_options, option


@dataclasses.dataclass(frozen=True)
class Options:
    path: str = option("file to read")
    port: int = option("TCP port", 8080, at_least=1, at_most=65535)
    mode: str = option("what to do with a malformed row", "skip", choices=("skip", "fail"))
    columns: tuple[str, ...] = option("columns to keep", ())
    explain: bool = option("whether to explain", False)
    limit: float | None = option("seconds", None, more_than=0)


def test_flags_are_parsed_to_their_types():
    found = load_options(
        Options, ["--path=a b", "--port=1", "--columns=x", "--columns=y", "--explain=true", "--limit=2.5"], "test"
    )
    assert found == Options("a b", 1, "skip", ("x", "y"), True, 2.5)


def test_defaults_are_those_of_the_fields():
    assert load_options(Options, ["--path=x"], "test") == Options("x", 8080, "skip", (), False, None)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--path is missing; expected: file to read"),
        (["--path=x", "--prt=1"], "unknown argument --prt; did you mean --port?"),
        (["--path=x", "--port=0"], "--port=0: must be at least 1 and at most 65535"),
        (["--path=x", "--port=x"], "--port=x: must be a whole number"),
        (["--path=x", "--mode=stop"], "--mode=stop: must be one of skip, fail"),
        (["--path=x", "--explain=maybe"], "--explain=maybe: must be True or False"),
        (["--path=x", "--limit=0"], "--limit=0: must be more than 0"),
        (["--path=x", "--port"], "argument --port: expected one argument; --help lists the flags"),
        (["--path="], "--path=: must be text that is not empty"),
    ],
)
def test_a_mistake_names_the_flag_and_the_rule(argv, message):
    with pytest.raises(ConfigError) as refused:
        load_options(Options, argv, "test")
    assert str(refused.value) == message


def test_a_file_gives_options_and_flags_override_it(tmp_path):
    path = tmp_path / "options.yaml"
    path.write_text("path: x\nport: 5\ncolumns: [a, b]\n")
    assert load_options(Options, [f"--config_path={path}", "--port=6"], "test") == Options("x", 6, columns=("a", "b"))
    path.write_text("prt: 5\n")
    with pytest.raises(ConfigError, match=r"prt: unknown key; did you mean port\?"):
        load_options(Options, [f"--config_path={path}"], "test")
    with pytest.raises(ConfigError, match="No such file"):
        load_options(Options, ["--config_path=none.yaml"], "test")


def test_help_shows_meaning_default_and_bounds(capsys):
    with pytest.raises(SystemExit) as ended:
        load_options(Options, ["--help"], "Test the options.")
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    assert "Test the options." in shown
    assert "file to read (default: must be given)" in shown
    assert "TCP port (default: 8080; at least 1 and at most 65535)" in shown
    assert list(describe_options(Options)) == ["path", "port", "mode", "columns", "explain", "limit"]
