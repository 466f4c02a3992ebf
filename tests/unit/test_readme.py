# SPDX-License-Identifier: Apache-2.0
import re

from src.config import DEFAULTS_PATH
from tests.conftest import ROOT


def test_the_flags_are_those_of_the_configuration():
    rows = re.findall(r"^\| `--(\w+)` \| `(.*)` \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    assert rows == re.findall(r"^(\w+): (.*?)\s+# (.*)$", DEFAULTS_PATH.read_text(), re.M)


def test_the_file_map_names_what_is_there():
    text = (ROOT / "README.md").read_text().split("## Files")[1].split("```")[1]
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    there = {path.stem for folder in ("", "src", "benchmarks") for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert named == there
