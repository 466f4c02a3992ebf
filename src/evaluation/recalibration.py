# SPDX-License-Identifier: Apache-2.0
"""A map of click probabilities to recalibrated ones: strictly increasing and piecewise linear in the logit."""

import dataclasses
import enum
import itertools
import math

import numpy as np

from src.common.errors import UserError
from src.evaluation.metrics import PROBABILITY_FLOOR


class Method(str, enum.Enum):
    """How the map was fitted."""

    PLATT = "platt"
    ISOTONIC = "isotonic"

    def __str__(self):
        return self.value


@dataclasses.dataclass(frozen=True)
class Recalibration:
    """The knots of the map: it takes the logit logits[k] to targets[k], also a logit, and is linear between knots.

    Beyond the ends it continues with the slope of the end pieces.  Two knots suffice for Platt's method, a line.
    Raises ValueError unless there are two knots or more, finite and strictly increasing, with slopes that are so too.
    """

    method: Method
    logits: tuple[float, ...]
    targets: tuple[float, ...]

    def __post_init__(self):
        if len(self.logits) != len(self.targets) or len(self.logits) < 2:
            raise ValueError(f"{len(self.logits)} logits and {len(self.targets)} targets; two or more of each needed")
        for name in ("logits", "targets"):
            values = getattr(self, name)
            if not all(map(math.isfinite, values)) or any(low >= high for low, high in itertools.pairwise(values)):
                raise ValueError(f"the {name} are not finite and strictly increasing")
        if not all(0 < slope < math.inf for slope in self._slopes()):
            raise ValueError("two knots are too close to each other")

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the recalibrated probabilities, float32 [n].  probabilities: [n], as the network gives them.

        Each row is computed in float64 and for itself: how rows are divided into batches makes no difference.
        """
        targets = self.map_logits(logit(probabilities))
        with np.errstate(over="ignore"):  # exp of more than 709 is infinite, and the probability then 0
            return (1 / (1 + np.exp(-targets))).astype(np.float32)

    def map_logits(self, logits: np.ndarray) -> np.ndarray:
        """Return the target of each logit, float64 [n]."""
        knots, targets, slopes = map(np.array, (self.logits, self.targets, self._slopes()))
        piece = np.clip(np.searchsorted(knots, logits, "right") - 1, 0, len(slopes) - 1)
        mapped = targets[piece] + slopes[piece] * (logits - knots[piece])
        ends = np.append(targets[1:-1], math.inf)  # a piece that ends higher by rounding would break the order
        return np.minimum(mapped, ends[piece])

    def to_dict(self) -> dict[str, object]:
        """Return a dict for JSON, which from_dict takes."""
        return {"method": str(self.method), "logits": list(self.logits), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, content: object, source: str) -> "Recalibration":
        """Take it from parsed JSON; UserError if it is damaged.  source: the file, for the message."""
        try:
            if not isinstance(content, dict) or content.keys() != {"method", "logits", "targets"}:
                raise ValueError("it must have method, logits and targets")
            knots = (tuple(float(value) for value in content[key]) for key in ("logits", "targets"))
            return cls(Method(content["method"]), *knots)
        except (TypeError, ValueError) as error:
            raise UserError(f"{source}: the recalibration is damaged ({error}); copy or write the file again") from None

    def _slopes(self):
        return [
            (target - before) / (knot - last)
            for (last, knot), (before, target) in zip(itertools.pairwise(self.logits), itertools.pairwise(self.targets))
        ]


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)) of probabilities clipped to PROBABILITY_FLOOR from either end, float64 [n]."""
    clipped = np.clip(np.ascontiguousarray(probabilities, np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.log(clipped) - np.log1p(-clipped)
