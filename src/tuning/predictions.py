# SPDX-License-Identifier: Apache-2.0
"""The predictions of trials for the validation set, and the halves of its rows; files, so that a search can resume."""

import dataclasses
import os
import pathlib
import zipfile

import numpy as np

from src.common.errors import UserError
from src.common.files import replaced

SELECTION, HELD_OUT = 0, 1  # the halves, by the first row of each
FOLDER_NAME = "predictions"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Labels, click probabilities and weights of rows, float32 [n] in the order of the split; weights may be None."""

    labels: np.ndarray
    probabilities: np.ndarray
    weights: np.ndarray | None = None

    def half(self, number: int) -> "Predictions":
        """Return the rows of a half, SELECTION or HELD_OUT: every second row."""
        return Predictions(*(None if each is None else each[number::2] for each in self.columns))  # type: ignore[arg-type]

    @property
    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Labels, probabilities and weights, as the functions of metrics.py take them."""
        return self.labels, self.probabilities, self.weights


class PredictionFiles:
    """The Predictions of trials, by number, in a folder of files trial-N.npz."""

    def __init__(self, folder: os.PathLike | str):
        self._folder = pathlib.Path(folder, FOLDER_NAME)

    def save(self, number: int, predictions: Predictions) -> None:
        """Write those of a trial, atomically."""
        self._folder.mkdir(exist_ok=True)
        arrays = {name: each for name, each in vars(predictions).items() if each is not None}
        with replaced(self._path(number)) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def load(self, number: int) -> Predictions:
        """Read those of a trial; UserError if they are missing or damaged."""
        path = self._path(number)
        try:
            with np.load(path) as arrays:
                return Predictions(**arrays)
        except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is missing or damaged; start the search anew with --overwrite=True") from error

    def _path(self, number):
        return self._folder / f"trial-{number}.npz"
