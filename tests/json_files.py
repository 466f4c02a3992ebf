# SPDX-License-Identifier: Apache-2.0
"""JSON files as a parser in any language reads them."""

import json
import pathlib


def strict_json(path: pathlib.Path) -> object:
    """Return the content of a JSON file; AssertionError for NaN and Infinity, which only Python accepts."""

    def refuse(constant):
        raise AssertionError(f"{path} holds {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
