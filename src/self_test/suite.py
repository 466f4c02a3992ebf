# SPDX-License-Identifier: Apache-2.0
"""The checks in their order, and how they run: a line of the table for each, and the file after each."""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from src.config import Config
from src.distributed.device import Device
from src.distributed.process_group import ProcessGroup
from src.self_test import arithmetic, masks, ranks, small_training, speed
from src.self_test.check import Check, Result, Status, run_check
from src.self_test.commands import check_commands
from src.self_test.machine import describe_device, device_count, expected_products
from src.self_test.results import Results
from src.self_test.small_training import compiled_training, measurements
from src.training.dropout_check import find_fault
from src.training.precision import Precision, choose_precision

DEVICE_SETTINGS = ("device_target", "convert_dtype", "jit_level")  # which the commands get, too
HASHING = ("CPU", "GPU")  # devices whose dropout is the hash: the same masks everywhere
TOLERANCE = "18 roundings in the format of matrix products, plus float32 sums of 64 terms"


def command_checks(config: Config, device_id: int | None, reference: dict, *, is_alone: bool) -> list[Check]:
    """Return the check of the commands, which must run while this process does not hold the device.

    device_id: that of this process; the commands do not see the variables that may have chosen it.
    """
    flags = [f"--{key}={getattr(config, key)}" for key in DEVICE_SETTINGS]
    flags += [f"--device_id={device_id}"] if device_id is not None else []
    untested = Result(Status.NOT_TESTED, "several processes; tested by python -m src.self_test with one")
    return [
        Check(
            "end to end",
            "the AUC of the test set, after preprocess_data.py, train.py and eval.py on 20,000 generated rows, with "
            "that of a CPU; other dropout masks move it by 0.0015 (standard deviation)",
            lambda: check_commands(flags, reference) if is_alone else untested,
        )
    ]


def device_check(convert_dtype: str, select: Callable[[], tuple[Device, ProcessGroup]]) -> Check:
    """Return the check that a device and the other ranks are there, without which the others cannot run."""

    def run() -> Result:
        device, group = select()
        choose_precision(convert_dtype, device)
        rank = f"; rank {group.rank} of {group.count}" if group.count > 1 else ""
        return Result(Status.PASS, describe_device(device) + rank)

    return Check("device", "nothing: the device is selected, the ranks meet, and it has the precision asked for", run)


def device_checks(
    config: Config, device: Device, group: ProcessGroup, reference: dict, folder: pathlib.Path
) -> list[Check]:
    """Return the checks of a device that is selected.  folder: for a checkpoint."""
    single, chosen_precision = (choose_precision(name, device) for name in ("False", config.convert_dtype))
    chosen = _training_checks(chosen_precision, group, device.target, reference)
    if chosen_precision == single:
        reason = f"--convert_dtype={config.convert_dtype} chooses float32 on this device, as above"
        chosen = [Check("chosen precision", chosen[0].compares, lambda: Result(Status.NOT_TESTED, reason))]
    return [
        *_arithmetic_checks(device),
        *_training_checks(single, group, device.target, reference),
        *chosen,
        *_behaviour_checks(device, group, reference, folder),
        *_collective_checks(device, group),
        _speed_check(config, device, chosen_precision),
    ]


def rank_checks(group: ProcessGroup, own_failures: int) -> list[Check]:
    """Return the last check of several ranks: whether the others have failed one; no check of a single process."""
    compares = "the number of failed checks of each rank with 0; the others are those of the first one"
    return [Check("all ranks", compares, lambda: ranks.check_failures(group, own_failures))] if group.count > 1 else []


def run_checks(checks: Sequence[Check], results: Results) -> bool:
    """Run checks; return whether none has failed."""
    failures = results.failures
    for check in checks:
        results.begin(check.name)
        results.add(run_check(check))
    return results.failures == failures


@functools.cache
def _products() -> arithmetic.Products:
    return arithmetic.measure_products()


def _roundoff(precision: Precision) -> float:
    """Return the rounding error of the factors of a dense layer in a precision, on this device."""
    return max(_products().roundoff, arithmetic.ROUNDOFFS[precision.dense_dtype])


def _arithmetic_checks(device: Device) -> list[Check]:
    return [
        Check(
            "matrix products",
            "the format in which float32 matrices are multiplied with the one documented for the device",
            lambda: arithmetic.check_products(_products(), expected_products(device)),
        ),
        Check(
            "float16 overflow",
            "a product beyond 65504 with what overflow handling assumes: 65504 on Ascend 910, infinity elsewhere",
            lambda: arithmetic.check_half_overflow(arithmetic.measure_half_overflow(), saturates=device.saturates),
        ),
        Check(
            "int32 overflow",
            "int32 products with those modulo 2^32, on which the hash behind dropout relies on CPU and GPU",
            lambda: arithmetic.check_wrap_around(is_needed=device.target in HASHING),
        ),
    ]


def _training_checks(precision: Precision, group: ProcessGroup, target: str, reference: dict) -> list[Check]:
    """Return the checks of the small network in a precision."""
    name = str(precision.dense_dtype).lower()
    return [
        Check(
            f"forward {name}",
            f"click probabilities of 64 rows with those of a CPU; {TOLERANCE}",
            lambda: small_training.check_forward(
                compiled_training(precision, group, target).probabilities(), reference, _roundoff(precision)
            ),
        ),
        Check(
            f"gradients {name}",
            f"the loss and the gradient of each parameter in one step with those of a CPU; {TOLERANCE}",
            lambda: small_training.check_gradients(
                measurements(precision, group, target), reference, _roundoff(precision)
            ),
        ),
        Check(
            f"10 steps {name}",
            f"losses, and the way of all weights, in ten steps of Adam with those of a CPU; {TOLERANCE}, times root 10",
            lambda: small_training.check_steps(measurements(precision, group, target), reference, _roundoff(precision)),
        ),
    ]


def _behaviour_checks(device: Device, group: ProcessGroup, reference: dict, folder: pathlib.Path) -> list[Check]:
    expected_digest = reference[masks.DIGEST] if device.target in HASHING else None
    single, half = (choose_precision(name, device) for name in ("False", "True"))
    return [
        Check(
            "overflow handling",
            "weights after a float16 step whose gradients overflow: finite, and unchanged where overflow is infinity",
            lambda: small_training.check_overflow(
                compiled_training(half, group, device.target), must_skip=half.checks_overflow
            ),
        ),
        Check(
            "dropout masks",
            "masks of one seed and step: equal; of others: unrelated; the fraction of kept units within 5 standard "
            "deviations; on CPU and GPU a mask with that of a CPU",
            lambda: masks.check_masks(masks.device_mask(device.target), find_fault(device.target), expected_digest),
        ),
        Check(
            "resume",
            "the loss of a step with the loss of the same step after its checkpoint was loaded: equal bits",
            lambda: small_training.check_resume(compiled_training(single, group, device.target), folder),
        ),
    ]


def _collective_checks(device: Device, group: ProcessGroup) -> list[Check]:
    compares = "known numbers of all ranks, and their sums: equal bits"
    if group.count == 1:

        def untested() -> Result:
            return Result(Status.NOT_TESTED, ranks.how_to_test(device.target, device_count(device.target)))

        return [Check("AllReduce, AllGather", compares, untested)]
    return [
        Check("AllReduce", compares, lambda: ranks.check_all_reduce(group)),
        Check("AllGather float32", compares, lambda: ranks.check_gather(group, np.float32)),
        Check("AllGather int32", compares, lambda: ranks.check_gather(group, np.int32)),
        Check("exchange of table parts", compares, lambda: ranks.check_exchange(group, device.target)),
    ]


def _speed_check(config: Config, device: Device, precision: Precision) -> Check:
    untested = Result(Status.NOT_TESTED, "steps of the default batch take too long on a CPU; see docs/benchmarks.md")
    return Check(
        "speed",
        "nothing: the time of a step of the network that the flags describe, its batch being on the device",
        lambda: untested if device.target == "CPU" else speed.measure_speed(config, device.target, precision),
    )
