# SPDX-License-Identifier: Apache-2.0
"""The READMEs against what they describe, and against each other."""

import re

import pytest

from src.config import DEFAULTS_PATH
from tests.conftest import ROOT
from tests.documents import code_blocks

READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_CN.md")}


def without_comments(block):
    return re.sub(r" *# .*", "", block)


@pytest.mark.parametrize("name", READMES)
def test_the_flags_are_those_of_the_configuration(name):
    rows = re.findall(r"^\| `--(\w+)` \| `(.*)` \| (.*) \|$", READMES[name], re.M)
    expected = re.findall(r"^(\w+): (.*?)\s+# (.*)$", DEFAULTS_PATH.read_text(), re.M)
    if name == "README.md":
        assert rows == expected
    assert [row[:2] for row in rows] == [row[:2] for row in expected]


def test_the_code_structure_names_every_module():
    text = next(block for block in code_blocks((ROOT / "CONTRIBUTING.md").read_text()) if "config.py" in block)
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    modules = [*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    assert named == {path.stem for path in modules} - {"__init__"}


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    text = READMES[name]
    headings = {slug(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        path, _, heading = target.partition("#")
        if not path:
            assert heading in headings, target
        elif not path.startswith("https://"):
            assert (ROOT / path).is_file(), target
            if heading:
                headings_there = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(encoding="utf-8"), re.M)
                assert heading in map(slug, headings_there), target


def slug(heading):
    """Return what a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_both_have_the_same_headings_tables_and_lists():
    shapes = []
    for text in READMES.values():
        prose = re.sub(r"^```.*?^```$", "code", text, flags=re.MULTILINE | re.DOTALL)
        shapes.append(re.findall(r"^(#+(?= )|- |\| |code|!\[|<img)", prose, re.M))
    assert shapes[0] == shapes[1]


def test_both_have_the_same_commands_and_outputs():
    english, chinese = ([without_comments(block) for block in code_blocks(text)]
                        for text in READMES.values())  # fmt: skip
    assert english == chinese


def test_both_mark_the_same_commands_as_not_tested():
    marks = {
        "# needs Ascend": "# 需要 Ascend",
        "# needs GPU": "# 需要 GPU",
        "# by hand, not in the tests": "# 手动运行",
    }
    english, chinese = ("".join(code_blocks(text, "bash")).splitlines() for text in READMES.values())
    for line, theirs in zip(english, chinese, strict=True):
        assert [mark in line for mark in marks] == [mark in theirs for mark in marks.values()], line


def test_both_have_the_same_figures():
    """All numbers, heading by heading; in Chinese some small ones are words."""
    english, chinese = (
        [numbers(section) for section in re.split(r"^## ", text, flags=re.M)] for text in READMES.values()
    )
    assert english == chinese


def numbers(text):
    """Return what is measured or set in a text, sorted: numbers with a point or of two digits and more."""
    return sorted(re.findall(r"\d[\d,]*\.\d+|\d[\d,]*\d", text))
