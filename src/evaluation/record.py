# SPDX-License-Identifier: Apache-2.0
"""evaluations.json next to the checkpoints: what eval.py has found out about each of them."""

import dataclasses
import json
import pathlib

from src.common.errors import UserError
from src.common.files import write_json
from src.common.locks import locked_folder
from src.evaluation.metrics import Metrics, metrics_for_json
from src.evaluation.recalibration import Recalibration

RECORD_NAME = "evaluations.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class EvaluationRecord:
    """The results of eval.py for one checkpoint.

    test: the metrics on the test split, after the recalibration if there is one; None before the first evaluation.
    A metric that is NaN, with one class only, is read as None.
    fitted_rows: the validation rows that the recalibration was fitted to, 0 without one.
    """

    test: Metrics | None = None
    recalibration: Recalibration | None = None
    fitted_rows: int = 0

    @classmethod
    def load(cls, checkpoint: pathlib.Path, sha256: str) -> "EvaluationRecord":
        """Return the record of a checkpoint file; an empty one if there is none, or only that of another content.

        Raises UserError if evaluations.json is damaged.
        """
        path = checkpoint.with_name(RECORD_NAME)
        entry = _read_entries(path).get(checkpoint.name)
        if entry is None or entry["sha256"] != sha256:
            return cls()
        recalibration = entry["recalibration"]
        if recalibration is not None:
            recalibration = Recalibration.from_dict(recalibration, str(path))
        return cls(entry["test"], recalibration, entry["fitted_rows"])

    def save(self, checkpoint: pathlib.Path, sha256: str, *, is_fitted: bool) -> None:
        """Make this the record of a checkpoint file, atomically, also while other processes write theirs.

        is_fitted: whether the recalibration is a new one.  If it is not, and another process has fitted one in the
        meantime, that one stays: the metrics here are not those of it, and nothing is written.
        Records of checkpoints that no longer exist are dropped.
        """
        folder = checkpoint.parent
        with locked_folder(folder, blocking=True):
            if not is_fitted and self.recalibration != self.load(checkpoint, sha256).recalibration:
                return
            entries = _read_entries(folder / RECORD_NAME)
            entries[checkpoint.name] = {
                "sha256": sha256,
                "test": metrics_for_json(self.test),
                "recalibration": self.recalibration and self.recalibration.to_dict(),
                "fitted_rows": self.fitted_rows,
            }
            kept = {name: entry for name, entry in entries.items() if (folder / _file_of(name)).is_file()}
            write_json(folder / RECORD_NAME, {"format_version": FORMAT_VERSION, "checkpoints": kept})


def _file_of(name):
    """Return the file that the name of a checkpoint begins with; that of an average ends with " and 2 more"."""
    return name.partition(" and ")[0]


def _read_entries(path):
    """Return the entries of evaluations.json by the names of the checkpoints, {} if there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise UserError(f"{path}: written by another version of eval.py; remove it and run eval.py again")
        entries = content["checkpoints"]
        if any(entry.keys() != {"sha256", "test", "recalibration", "fitted_rows"} for entry in entries.values()):
            raise ValueError("an entry has other keys")
        return entries
    except FileNotFoundError:
        return {}
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # ValueError: neither JSON nor UTF-8, too
        raise UserError(f"{path} is damaged ({error!r}); remove it and run eval.py again") from error
