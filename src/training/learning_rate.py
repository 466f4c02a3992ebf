# SPDX-License-Identifier: Apache-2.0
"""The learning rate of each step."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """A learning rate that rises linearly to `peak` over the first warmup_steps, then follows its kind.

    kind: "constant"; "plateau": divided by decay_factor after each validation without improvement;
    "one_cycle": down to 0 at total_steps, along half a cosine (after Smith & Topin, "Super-Convergence", 2018).
    """

    kind: str
    peak: float
    total_steps: int
    warmup_steps: int = 0
    decay_factor: float = 10.0

    def at(self, step: int, plateau_count: int = 0) -> float:
        """Return the learning rate of a step, counted from 0, after that many validations without improvement."""
        rate = self.peak / self.decay_factor**plateau_count if self.kind == "plateau" else self.peak
        if step < self.warmup_steps:
            return rate * (step + 1) / self.warmup_steps
        if self.kind == "one_cycle":
            return rate * (1 + math.cos(math.pi * (step - self.warmup_steps) / self._falling_steps)) / 2
        return rate

    @property
    def _falling_steps(self):
        return max(self.total_steps - self.warmup_steps, 1)
