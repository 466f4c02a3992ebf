# SPDX-License-Identifier: Apache-2.0
"""Ten steps of a small network: probabilities, losses, gradients and weights; overflow; and a checkpoint."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.checkpoint import ModelFolder, load_into
from src.data_identity import DataIdentity
from src.deepfm import DeepFM, DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.self_test import problem
from src.self_test.arithmetic import ROUNDOFFS
from src.self_test.check import Result, close, judge, relative_error, verdict
from src.training.precision import Precision
from src.training.train_step import TrainStep, build_train_step

BETA1 = 0.9  # of Adam: after its first step the first moment is (1 - BETA1) * gradient
ROUNDED_FACTORS = 18  # two factors and a result of each layer's product, in three layers, forwards and backwards
SUMS = 4 * math.isqrt(problem.LONGEST_SUM)  # the error of a float32 sum grows with the root of its length
HUGE = 1e5  # float16 ends at 65504
RESUME_ERROR = 1e-3  # of an update whose gradients are added in another order; without the checkpoint it is far larger


def tolerance(roundoff: float) -> float:
    """Return the largest relative error to expect if factors are rounded with this error, and sums are float32."""
    return ROUNDED_FACTORS * roundoff + SUMS * ROUNDOFFS[ms.float32]


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What ten steps give: their losses, the gradients of the first one, the weights before and after them, by name."""

    losses: np.ndarray
    gradients: dict[str, np.ndarray]
    start: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]


class SmallTraining:
    """The network of the problem and its train step, in a precision, of a target: "CPU", "GPU" or "Ascend".

    ranks: divide the rows of each batch if they can; otherwise each has all of them.
    """

    def __init__(self, precision: Precision, ranks: ProcessGroup, target: str):
        self._ranks = ranks
        self.network = DeepFM(problem.SIZES, 0, precision.dense_dtype, target)
        self.train_step = _build_train_step(self.network, precision)
        self._initial = {each.name: each.value().copy() for each in self.train_step.get_parameters()}
        self._initial |= {name: Tensor(value) for name, value in problem.weights(self.network).items()}
        self.restart()

    def restart(self) -> None:
        """Set all parameters to those of the beginning."""
        for parameter in self.train_step.get_parameters():
            parameter.set_data(self._initial[parameter.name].copy())

    def probabilities(self) -> np.ndarray:
        """Return the click probabilities of the first batch, with the weights of the beginning."""
        self.restart()
        return DeepFMPredict(self.network)(*map(Tensor, problem.batch(1)[:2])).asnumpy()

    def run(self) -> Measurements:
        """Train from the beginning."""
        self.restart()
        self.train_step.set_train()
        start = self.weights()
        losses = [self.step(1)]
        moments = self.train_step.optimizer.moment1
        gradients = {each.name.removeprefix("moment1."): each.asnumpy() / np.float32(1 - BETA1) for each in moments}
        losses += [self.step(step) for step in range(2, problem.STEPS + 1)]
        return Measurements(np.array(losses), gradients, start, self.weights())

    def step(self, step: int) -> float:
        """Do a step; return the loss over the rows of all ranks."""
        divisor = self._ranks.count if problem.PADDING_ROWS % self._ranks.count == 0 else 1
        columns = [column[self._ranks.rank % divisor :: divisor] for column in problem.batch(step)]
        return self._ranks.mean(self.train_step(*map(Tensor, columns)))

    def weights(self) -> dict[str, np.ndarray]:
        """Return the current weights by name."""
        return {each.name: each.asnumpy().copy() for each in self.network.trainable_params()}


@functools.cache
def compiled_training(precision: Precision, ranks: ProcessGroup, target: str) -> SmallTraining:
    """Return the one SmallTraining in a precision: its graphs are compiled once."""
    return SmallTraining(precision, ranks, target)


@functools.cache
def measurements(precision: Precision, ranks: ProcessGroup, target: str) -> Measurements:
    """Return the Measurements in a precision, made once."""
    return compiled_training(precision, ranks, target).run()


def check_forward(probabilities: np.ndarray, reference: dict, roundoff: float) -> Result:
    """Compare the click probabilities of a batch."""
    actual, expected = {"probabilities": probabilities}, {"probabilities": reference["probabilities"]}
    return close(actual, expected, tolerance(roundoff))


def check_gradients(measured: Measurements, reference: dict, roundoff: float) -> Result:
    """Compare the loss of the first step and the gradient of each parameter."""
    actual = {"loss": measured.losses[:1], **measured.gradients}
    expected = {"loss": reference["losses"][:1], **reference["gradients"]}
    return close(actual, expected, tolerance(roundoff))


def check_steps(measured: Measurements, reference: dict, roundoff: float) -> Result:
    """Compare the losses of ten steps, and the way that all weights together have moved.

    The errors of the steps add up as in a random walk.
    """
    start, expected, actual = (_joined(each) for each in (measured.start, reference["weights"], measured.weights))
    distance = float(np.linalg.norm(actual - expected) / np.linalg.norm(expected - start))
    errors = {
        "losses": relative_error(measured.losses, reference["losses"]),
        "weights": distance if math.isfinite(distance) else math.inf,
    }
    allowed = tolerance(roundoff) * math.sqrt(problem.STEPS)
    return judge(errors, allowed, {"losses": measured.losses, **measured.weights})


def check_overflow(training: SmallTraining, *, must_skip: bool) -> Result:
    """Let the gradients of the first step overflow; then the weights must be finite, and the next step must work.

    must_skip: whether the product promises that such a step counts as one without gradients.  As Adam's moments are
    still 0 in the first step, the weights must then be unchanged; in a later one they would follow the moments.
    """
    training.restart()
    training.train_step.set_train()
    embedding = training.network.embedding
    fine = embedding.value().copy()
    embedding.set_data(Tensor(np.full(embedding.shape, HUGE, np.float32)))
    before = training.weights()
    training.step(1)
    after = training.weights()
    embedding.set_data(fine)
    next_loss = training.step(2)
    is_finite = all(np.isfinite(value).all() for value in after.values()) and math.isfinite(next_loss)
    is_skipped = all(np.array_equal(after[name], before[name]) for name in before)
    finite = "finite" if is_finite else "NOT finite"
    skipped = "unchanged, as without gradients" if is_skipped else "changed"
    text = f"after a first step that overflows, weights and next loss are {finite}; the weights are {skipped}"
    largest = {name: float(np.abs(value).max()) for name, value in after.items()}
    details = {"next_loss": next_loss, "must_skip": must_skip, "largest_weights": largest}
    return verdict(is_finite and (is_skipped or not must_skip), text, **details)


def check_resume(training: SmallTraining, folder: pathlib.Path) -> Result:
    """Save a checkpoint after ten steps, do a step, load the checkpoint, and do the step again: the loss is the same.

    Where a device adds the terms of a gradient in any order, the weights after it may differ in their last bits.
    """
    training.run()
    identity = DataIdentity("", (), (), "", (), problem.SIZES.vocabulary_size)
    checkpoints = ModelFolder.create(folder, problem.SIZES, identity)
    checkpoints.save(training.train_step, 1, problem.STEPS, {}, {})
    loss, weights = training.step(problem.STEPS + 1), training.weights()
    training.restart()
    load_into(training.train_step, checkpoints.best.path)
    again, weights_again = training.step(problem.STEPS + 1), training.weights()
    largest = max(relative_error(weights_again[name], weights[name]) for name in weights)
    text = f"the loss of the next step is {again:.9g}, without the checkpoint {loss:.9g}; "
    text += "its update is bitwise the same" if largest == 0 else f"its update differs by {largest:.1e}"
    return verdict(again == loss and largest <= RESUME_ERROR, text)


def _build_train_step(network: DeepFM, precision: Precision) -> TrainStep:
    return build_train_step(
        network, problem.LEARNING_RATE, problem.EPSILON, problem.L2_COEF, precision=precision
    )  # fmt: skip


def _joined(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all elements of arrays by name, float64 [n], in the order of the names."""
    return np.concatenate([np.ravel(arrays[name]) for name in sorted(arrays)]).astype(np.float64)
