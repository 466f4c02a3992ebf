# SPDX-License-Identifier: Apache-2.0
"""The golden rows of a package: a program that scores them as the export did understands the package."""

import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from src.common.errors import UserError
from src.common.scores import DECIMALS, PROBABILITY, ROW
from src.package.package import GOLDEN_ROWS_NAME, GOLDEN_SCORES_NAME, Package

HEADER = f"{ROW},{PROBABILITY}"
# Below the difference of two trainings, and above that of two runtimes on rows that amplify it; also in scores.cc.
TOLERANCE = 1e-4


def save_golden_rows(folder: pathlib.Path, rows: list[str], probabilities: np.ndarray) -> None:
    """Write rows and their probabilities, float32 [n], to the folder of a package."""
    scores = [f"{row},{probability:.{DECIMALS}f}\n" for row, probability in enumerate(probabilities.tolist(), 1)]
    (folder / GOLDEN_ROWS_NAME).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8", newline="")
    (folder / GOLDEN_SCORES_NAME).write_text("".join([f"{HEADER}\n", *scores]), encoding="utf-8")


def check_golden_scores(package: Package, score: Callable[[list[bytes]], Iterable[np.ndarray]]) -> None:
    """Raise UserError unless the golden rows have their scores.

    score: from rows to their probabilities, [n], once for each way to compute them.
    """
    path = package.path / GOLDEN_ROWS_NAME
    lines = path.read_bytes().split(b"\n")[:-1]
    expected = _read_scores(package.path / GOLDEN_SCORES_NAME)
    if len(expected) != len(lines) or not lines:
        raise UserError(f"{path} has {len(lines)} rows for {len(expected)} golden scores; copy the package again")
    try:
        difference = float(np.max([np.abs(probabilities - expected).max() for probabilities in score(lines)]))
    except UserError as error:
        raise UserError(f"{path}: {error}; copy the package again") from error
    if not difference <= TOLERANCE:  # also for NaN
        raise UserError(
            f"{package.path}: the golden rows are scored differently than at the export, by up to {difference:.1e}, so "
            "the files of the package do not belong together; export it again"
        )


def _read_scores(path):
    """Return the golden scores, float64 [n]."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        if header != HEADER:
            raise ValueError(f"its first line is not {HEADER}")
        return np.array([float(line.partition(",")[2]) for line in lines])
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; copy the package again") from error
