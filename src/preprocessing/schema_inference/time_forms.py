# SPDX-License-Identifier: Apache-2.0
"""Columns of times: how they are written."""

import re

import polars as pl

YEAR, YEAR_2, MONTH, DAY = r"(19[7-9]\d|20[0-3]\d)", r"[0-3]\d", "(0[1-9]|1[0-2])", r"(0[1-9]|[12]\d|3[01])"
HOUR, MINUTE = r"([01]\d|2[0-3])", r"[0-5]\d"
ISO = rf"^{YEAR}-{MONTH}-{DAY}([T ]{HOUR}:{MINUTE}(:{MINUTE}([.,]\d+)?)?( ?(Z|UTC|[+-]\d\d:?\d\d))?)?$"
DIGITS = {
    "YYYYMMDD": f"^{YEAR}{MONTH}{DAY}$",
    "YYMMDDHH": f"^{YEAR_2}{MONTH}{DAY}{HOUR}$",
    "YYYYMMDDHH": f"^{YEAR}{MONTH}{DAY}{HOUR}$",
    "YYYYMMDDHHMM": f"^{YEAR}{MONTH}{DAY}{HOUR}{MINUTE}$",
    "YYYYMMDDHHMMSS": f"^{YEAR}{MONTH}{DAY}{HOUR}{MINUTE}{MINUTE}$",
}
UNIX = {"unix seconds": 1, "unix milliseconds": 1000, "unix microseconds": 1_000_000}
FIRST_SECOND, LAST_SECOND = 1_000_000_000, 2_200_000_000  # of the years 2001 to 2039
LONGEST_LOG_SECONDS = 2 * 366 * 86_400
TIME_WORDS = {"time", "timestamp", "ts", "date", "datetime", "day", "hour", "dt"}
TIME_NAMES = {"time", "timestamp", "ts", "unix_time", "event_time", "time_stamp"}  # of any numbers
MANY_VALUES = 10  # digits of as many values are no times by chance
NUMBERS = "numbers"
FEW_NUMBERS = 100  # hours of a day, days of a month


def find_time_form(name: str, values: pl.Series, integers: pl.Series) -> str:
    """Return how times are written in the distinct values of a column; empty if they are none.

    values: text.  integers: the same values, null for those that are none.
    """
    if values.str.contains(ISO).all():
        return "ISO"
    if integers.null_count():
        return ""
    is_named = bool(TIME_WORDS & set(re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())))
    if is_named or len(values) >= MANY_VALUES:
        for form, pattern in DIGITS.items():
            if values.str.contains(pattern).all():
                return form
        if form := _find_unix_form(integers, is_named):
            return form
    return NUMBERS if name.lower() in TIME_NAMES and len(values) > FEW_NUMBERS else ""


def _find_unix_form(integers, is_named):
    low, high = integers.min(), integers.max()
    for form, scale in UNIX.items():
        if FIRST_SECOND * scale <= low <= high <= LAST_SECOND * scale:
            return form if is_named or high - low <= LONGEST_LOG_SECONDS * scale else ""
    return ""
