# SPDX-License-Identifier: Apache-2.0
"""The field's words: these were written in place of them once and must not come back."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

SUFFIXES = (".py", ".sh", ".md", ".yaml", ".cc", ".h", ".j2", ".txt")
# A pattern, and the word that the field uses.
BANNED = {
    r"\blook(s|ed)? at\b|looked_at|add_look|_look_if": "validation, evaluation",
    r"\b(go|goes|going|gone)[ _]on\b|way_on": "resume, continue",
    r"\bon valid\b|\bthe valid split\b|\bvalid rows\b": "validation",
    r"\bshare of\b|_share\b|SHARE\b": "fraction, ratio",
    r"\bplace_of\b|\bplaces\b": "index, position",
    r"\bbeside\b": "next to, alongside, in addition to",
    r"last_whole|write_whole|\bwhole (file|folder|records?|checkpoint)": "complete, intact, atomic",
    r"commonest": "most frequent",
    r"\boctets?\b": "byte",
    r"deep part": "MLP, hidden layers",
    r"\bfills? up\b": "pad",
    r"way out\b|\bmend(s|ed)?\b": "fix",
    r"strongest[ _]fields": "most informative fields",
    r"average weights|AVERAGE_PREFIX": "EMA weights",
}


def texts():
    """Return the text of each file of the repository by its path."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in names
        if name.endswith(SUFFIXES) and name != "tests/unit/test_vocabulary.py" and (ROOT / name).exists()
    }


@pytest.mark.parametrize("pattern", BANNED)
def test_the_field_has_a_word_for_it(pattern):
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for name, text in texts().items()
        for match in re.finditer(pattern, text)
    ]
    assert not found, f"write {BANNED[pattern]}: {found}"


def test_the_patterns_find_what_they_are_for():
    examples = (
        *("one look at valid", "the run goes on", "scores on valid", "share of rows", "place_of(step)", "beside it"),
        *("last_whole()", "the commonest value", "octets", "the deep part", "fills up", "the way out"),
        *("strongest_fields", "average weights"),
    )
    assert len(examples) == len(BANNED)
    for pattern, example in zip(BANNED, examples):
        assert re.search(pattern, example), pattern
