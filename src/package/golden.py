# SPDX-License-Identifier: Apache-2.0
"""The golden rows of a package: a program that scores them as the export did understands the package."""

import pathlib
from collections.abc import Callable

import numpy as np

from src.common.errors import UserError
from src.package.package import GOLDEN_ROWS_NAME, GOLDEN_SCORES_NAME, Package

TOLERANCE = 1e-4  # far below the difference of two trainings, and above that of two runtimes


def save_golden_rows(folder: pathlib.Path, rows: list[str], probabilities: np.ndarray) -> None:
    """Write rows and their probabilities, float32 [n], to the folder of a package."""
    scores = [f"{row},{probability:.8f}\n" for row, probability in enumerate(probabilities.tolist(), 1)]
    (folder / GOLDEN_ROWS_NAME).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8", newline="")
    (folder / GOLDEN_SCORES_NAME).write_text("".join(["row,probability\n", *scores]), encoding="utf-8")


def check_golden_scores(package: Package, predict: Callable[[list[bytes]], np.ndarray]) -> None:
    """Raise UserError unless `predict` gives the golden rows their scores."""
    path = package.path / GOLDEN_SCORES_NAME
    lines = (package.path / GOLDEN_ROWS_NAME).read_bytes().split(b"\n")[:-1]
    try:
        expected = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1, ndmin=1)
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; copy the package again") from error
    if len(expected) != len(lines) or not len(lines):
        raise UserError(f"{path} has {len(expected)} scores for {len(lines)} golden rows; copy the package again")
    difference = float(np.abs(predict(lines) - expected).max())
    if not difference <= TOLERANCE:  # also for NaN
        raise UserError(
            f"{package.path}: the golden rows are scored differently than at the export, by up to {difference:.1e}, so "
            "the files of the package do not belong together; export it again"
        )
