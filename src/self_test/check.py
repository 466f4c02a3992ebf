# SPDX-License-Identifier: Apache-2.0
"""Checks and their results: each check runs whatever the others do, and gives one line of a table."""

import dataclasses
import enum
import time
import traceback
from collections.abc import Callable, Mapping

import numpy as np

from src.common.errors import UserError
from src.common.signals import Stopped

ROW = "{:11} {:20} {}"
HEADER = ROW.format("result", "check", "what was found")


class Status(enum.Enum):
    """The outcome of a check."""

    PASS = "pass"
    FAIL = "FAIL"
    INFO = "info"
    NOT_TESTED = "not tested"


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of a check.  text: in one line, the measured value.  details: all else that the file gets."""

    status: Status
    text: str
    details: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Check:
    """A check.  compares: what with what, within which tolerance and why.  run: does it; an exception is a FAIL."""

    name: str
    compares: str
    run: Callable[[], Result]


@dataclasses.dataclass(frozen=True)
class Record:
    """A check with its Result, and the seconds that it took."""

    check: Check
    result: Result
    seconds: float

    def row(self) -> str:
        """Return the line of the table."""
        return ROW.format(self.result.status.value, self.check.name, self.result.text)

    @property
    def is_failure(self) -> bool:
        """Whether the check has failed."""
        return self.result.status is Status.FAIL

    def to_json(self) -> dict:
        """Return the content for the file."""
        result = self.result
        about = {"check": self.check.name, "status": result.status.value, "text": result.text}
        return {**about, "compares": self.check.compares, "seconds": round(self.seconds, 3), **result.details}


def run_check(check: Check) -> Record:
    """Run a check; an exception becomes a FAIL with its first line; the file gets its traceback, with its causes."""
    start = time.monotonic()
    try:
        result = check.run()
    except Stopped:
        raise
    except Exception as error:  # whatever a device raises, the other checks must run
        first_line = next(iter(str(error).strip().splitlines()), "")
        text = first_line if isinstance(error, UserError) else f"{type(error).__name__}: {first_line}"
        result = Result(Status.FAIL, text, {"traceback": traceback.format_exc().splitlines()})
    return Record(check, result, time.monotonic() - start)


def verdict(is_right: bool, text: str, **details: object) -> Result:
    """Return the Result of a check that is either right or wrong."""
    return Result(Status.PASS if is_right else Status.FAIL, text, details)


def close(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float) -> Result:
    """Compare arrays by name, each by its relative_error; a FAIL has the actual values for the file."""
    errors = {name: relative_error(actual[name], expected[name]) for name in expected}
    return judge(errors, tolerance, actual)


def judge(errors: Mapping[str, float], tolerance: float, actual: Mapping[str, np.ndarray]) -> Result:
    """Return the Result for errors by name, of which the largest decides."""
    worst = max(errors, key=errors.__getitem__)
    is_right = errors[worst] <= tolerance
    text = f"largest error {errors[worst]:.1e} ({worst}), allowed {tolerance:.1e}"
    values = {} if is_right else {"actual": {name: np.asarray(value).tolist() for name, value in actual.items()}}
    return verdict(is_right, text, tolerance=tolerance, errors=dict(errors), **values)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute error, divided by the largest expected element; infinite if a value is not finite.

    ValueError if the shapes differ.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise ValueError(f"shape {actual.shape} instead of {expected.shape}")
    if not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(actual - expected).max() / np.abs(expected).max())
