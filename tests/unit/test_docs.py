# SPDX-License-Identifier: Apache-2.0
"""The documents against the code that they describe, and the English ones against the Chinese ones."""

import re

import pytest

from src.config import DEFAULTS_PATH
from src.config_reference import COMMAND, describe_settings
from tests.conftest import ROOT
from tests.documents import code_blocks

DEFAULTS = re.findall(r"^(\w+): (.*?)\s+# (.*)$", DEFAULTS_PATH.read_text(encoding="utf-8"), re.M)
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_CN.md")}
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
TRANSLATED = {  # the English and the Chinese text
    "README.md": tuple(READMES.values()),
    **{
        path.name: tuple((ROOT / "docs" / folder / path.name).read_text(encoding="utf-8") for folder in (".", "zh"))
        for path in (ROOT / "docs" / "zh").glob("*.md")
    },
}


def without_comments(block):
    return re.sub(r" *# .*", "", block)


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_flags_agrees_with_the_configuration(name):
    rows = re.findall(r"^\| `--(\w+)` \| `(.*)` \| (.*) \|$", READMES[name], re.M)
    expected = {key: (default, meaning) for key, default, meaning in DEFAULTS}
    assert len(rows) >= 10
    shown = [key for key, *_ in rows]
    assert shown == [key for key in expected if key in shown]
    for key, default, meaning in rows:
        assert default == expected[key][0]
        assert name != "README.md" or meaning == expected[key][1]


def test_the_reference_of_the_configuration_is_up_to_date():
    path = ROOT / "docs" / "configuration.md"
    assert path.read_text(encoding="utf-8") == describe_settings(), f"regenerate it: {COMMAND}"


def test_the_reference_has_a_row_for_each_line_of_the_defaults():
    text = describe_settings()
    rows = re.findall(r"^\| `--(\w+)` \| `(.*?)` \| (.+?) \| (.+?) \|$", text, re.M)
    assert [(key, default) for key, default, *_ in rows] == [(key, default) for key, default, _ in DEFAULTS]
    for (_, _, _, meaning), (_, _, comment) in zip(rows, DEFAULTS, strict=True):
        assert meaning.startswith(comment)
    assert {key: allowed for key, _, allowed, _ in rows}["keep_prob"] == "number, more than 0 and at most 1"
    assert re.findall(r"^## (.*)", text, re.M) == re.findall(r"\n\n# (.*)\n\w", DEFAULTS_PATH.read_text())


def test_the_code_structure_names_every_module():
    text = next(block for block in code_blocks((ROOT / "CONTRIBUTING.md").read_text()) if "config.py" in block)
    named = set(re.findall(r"\b(\w+)\.py\b", text))
    modules = [*ROOT.glob("*.py"), *(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    assert named == {path.stem for path in modules} - {"__init__", "__main__"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if not target.startswith("https://"):
            name, _, heading = target.partition("#")
            linked = path.parent / name if name else path
            assert linked.is_file(), target
            assert not heading or heading in anchors(linked), target


def anchors(path):
    """Return the anchors of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\(([^)#\s]+)", READMES["README.md"]))
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} <= linked


def test_the_readme_is_a_page_of_about_150_lines():
    assert all(len(text.splitlines()) <= 170 for text in READMES.values())


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_has_the_same_headings_tables_and_lists(name):
    shapes = []
    for text in TRANSLATED[name]:
        prose = re.sub(r"^```.*?^```$", "code", text, flags=re.MULTILINE | re.DOTALL)
        shapes.append(re.findall(r"^(#+(?= )|- |\| |code|!\[|<img)", prose, re.M))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_has_the_same_commands_and_outputs(name):
    english, chinese = ([without_comments(block) for block in code_blocks(text)] for text in TRANSLATED[name])
    assert english == chinese


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_marks_the_same_commands_as_not_tested(name):
    marks = {
        "# needs Ascend": "# 需要 Ascend",
        "# needs GPU": "# 需要 GPU",
        "# by hand, not in the tests": "# 手动运行",
    }
    english, chinese = ("".join(code_blocks(text, "bash")).splitlines() for text in TRANSLATED[name])
    for line, theirs in zip(english, chinese, strict=True):
        assert [mark in line for mark in marks] == [mark in theirs for mark in marks.values()], line


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_has_the_same_figures(name):
    """All numbers, heading by heading; in Chinese some small ones are words."""
    english, chinese = (
        [numbers(section) for section in re.split(r"^## ", text, flags=re.M)] for text in TRANSLATED[name]
    )
    assert english == chinese


def numbers(text):
    """Return the figures of a text, sorted: numbers with a point or of two digits and more."""
    return sorted(re.findall(r"\d[\d,]*\.\d+|\d[\d,]*\d", text))
