# SPDX-License-Identifier: Apache-2.0
"""The parts of a Markdown document."""

import re


def code_blocks(text, language=None):
    """Return the code blocks of a language, or all of them."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if language in (None, name)]
