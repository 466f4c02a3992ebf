# SPDX-License-Identifier: Apache-2.0
"""docs/serving.md against the flags of the server."""

import re

from serve import ServeOptions
from src.common.options import describe_options
from tests.conftest import ROOT


def test_the_table_of_flags_agrees_with_the_options():
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--(\w+)` \| (?:`(.*?)` )?\| (.*) \|$", text, re.M)
    flags = describe_options(ServeOptions)
    assert [name for name, *_ in rows] == list(flags)
    for name, default, meaning in rows:
        assert (default or "must be given", meaning) == (flags[name].default, flags[name].meaning)
