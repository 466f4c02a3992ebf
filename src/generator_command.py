# SPDX-License-Identifier: Apache-2.0
"""The flags and the best possible metrics of the commands that generate rows from a known model."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from src.common.errors import UserError
from src.common.flags import Parser

if TYPE_CHECKING:
    import numpy as np


def add_flags(parser: Parser) -> None:
    """Add the flags of all of them."""
    parser.add_argument("--rows", type=int, default=200_000, help="number of rows")
    parser.add_argument("--seed", type=int, default=1, help="random seed; the same seed gives the same bytes")


def check_flags(arguments: argparse.Namespace) -> None:
    """Raise UserError unless the values of those flags are allowed."""
    if arguments.rows < 1 or arguments.seed < 0:
        raise UserError(f"--rows={arguments.rows} --seed={arguments.seed}: rows is at least 1, seed at least 0")


def best_metrics(seed: int, labels: "np.ndarray", probabilities: "np.ndarray") -> dict[str, Any]:
    """Return the metrics of the true probabilities, a dict for JSON: no model beats them but by chance.

    labels: [n] of 0 or 1.  probabilities: float32 [n].
    """
    from src.evaluation.metrics import log_loss, roc_auc  # here, as importing it takes long

    return {
        "rows": len(labels),
        "seed": seed,
        "clicks": int(labels.sum()),
        "auc": roc_auc(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
    }


def describe(path: os.PathLike, best: dict[str, Any]) -> str:
    """Return the line that a command prints at its end.  path: of the rows.  best: of best_metrics."""
    return (
        f"{path}: {best['rows']:,} rows, {best['clicks']:,} clicks; best possible: "
        f"AUC {best['auc']:.5f}, log loss {best['log_loss']:.5f}"
    )
