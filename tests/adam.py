# SPDX-License-Identifier: Apache-2.0
"""Adam in numpy, in double precision (Kingma & Ba 2015, the form with the corrected learning rate of its section 2)."""

from collections.abc import Sequence

import numpy as np

FIRST_DECAY, SECOND_DECAY = 0.9, 0.999


class Adam:
    """weights, first_moments and second_moments are lists of arrays, one for each parameter."""

    def __init__(self, weights: Sequence[np.ndarray], rate: float, epsilon: float):
        self.weights = [np.asarray(weight, np.float64) for weight in weights]
        self.first_moments, self.second_moments = ([np.zeros_like(weight) for weight in self.weights] for _ in range(2))
        self._rate, self._epsilon, self._steps = rate, epsilon, 0

    def update(self, gradients: Sequence[np.ndarray]) -> None:
        """Take one step."""
        self._steps += 1
        rate = self._rate * np.sqrt(1 - SECOND_DECAY**self._steps) / (1 - FIRST_DECAY**self._steps)
        for number, gradient in enumerate(gradients):
            first = FIRST_DECAY * self.first_moments[number] + (1 - FIRST_DECAY) * gradient
            second = SECOND_DECAY * self.second_moments[number] + (1 - SECOND_DECAY) * gradient**2
            self.weights[number] = self.weights[number] - rate * first / (np.sqrt(second) + self._epsilon)
            self.first_moments[number], self.second_moments[number] = first, second
