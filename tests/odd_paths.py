# SPDX-License-Identifier: Apache-2.0
"""Names that are hard on programs: characters of shells, of patterns, of URLs, of formats, and not of ASCII."""

ODD_NAMES = (
    "a b",
    " lead",
    "trail ",
    "dt=2026-11-25",
    "db++",
    "a%20d",
    "a#b",
    "[x]",
    "a*b",
    "a?b",
    "it's",
    'say "hi"',
    "中文",
    "é",
    "-lead",
    "~",
    "$HOME",
    "a;b",
    "a&b|c",
    "<a>`b`",
    "a\\b",
    "a:b,c",
    "{rank}",
    "!(a)^@",
    "a\nb\tc",
    "name.mindir.d",
    "x" * 200,
)
ALL_IN_ONE = " -a b=+%#[x]*?'\"中文é~$HOME;&|<>`\\:,{rank}!()^@.mindir "  # in one name, to save time
