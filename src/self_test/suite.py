# SPDX-License-Identifier: Apache-2.0
"""The checks in their order, and how they run: a line of the table for each, and the file after each."""

import functools
import pathlib
from collections.abc import Sequence

import mindspore as ms

from src.config import Config
from src.distributed.device import dense_dtype
from src.distributed.process_group import ProcessGroup
from src.self_test import arithmetic, masks, ranks, small_training, speed
from src.self_test.check import Check, Record, Result, Status, run_check
from src.self_test.commands import check_commands
from src.self_test.machine import FIRST_ASCEND, expected_products, soc_of
from src.self_test.result_file import ResultFile
from src.self_test.small_training import compiled_training, measurements

DEVICE_SETTINGS = ("device_target", "device_id", "convert_dtype")  # which the commands get, too
HASHING = ("CPU", "GPU")  # devices whose dropout is the hash: the same masks everywhere
TOLERANCE = "18 roundings in the format of matrix products, plus float32 sums of 64 terms"


def command_checks(config: Config, reference: dict, *, is_alone: bool) -> list[Check]:
    """Return the check of the commands, which must run while this process does not hold the device."""
    flags = [f"--{key}={getattr(config, key)}" for key in DEVICE_SETTINGS]
    untested = Result(Status.NOT_TESTED, "several processes; tested by python -m src.self_test with one")
    return [
        Check(
            "end to end",
            "the AUC of the test set, after preprocess_data.py, train.py and eval.py on 20,000 generated rows, with "
            "that of a CPU; other dropout masks move it by 0.0015 (standard deviation)",
            lambda: check_commands(flags, reference) if is_alone else untested,
        )
    ]


def device_checks(
    config: Config, target: str, group: ProcessGroup, reference: dict, folder: pathlib.Path
) -> list[Check]:
    """Return the checks of a device that is selected.  folder: for a checkpoint."""
    dtype = dense_dtype(config.convert_dtype, target)
    chosen = _training_checks(str(dtype).lower(), dtype, group, reference)
    if dtype == ms.float32:
        reason = f"--convert_dtype={config.convert_dtype} chooses float32 on this device, as above"
        chosen = [Check("chosen precision", chosen[0].compares, lambda: Result(Status.NOT_TESTED, reason))]
    return [
        *_arithmetic_checks(target),
        *_training_checks("float32", ms.float32, group, reference),
        *chosen,
        *_behaviour_checks(target, group, reference, folder),
        Check("AllReduce", "sums over all ranks of known numbers: equal bits", lambda: ranks.check_all_reduce(group)),
        Check("AllGather", "known numbers of all ranks: equal bits", lambda: ranks.check_gather(group)),
        Check(
            "speed",
            "nothing: the time of a step of the network that the flags describe, its batch being on the device",
            lambda: speed.measure_speed(config, target, dtype, group),
        ),
    ]


def rank_checks(group: ProcessGroup, own_failures: int) -> list[Check]:
    """Return the last check of several ranks: whether the others have failed one; no check of a single process."""
    compares = "the number of failed checks of each rank with 0; the table above is that of the first one"
    return [Check("all ranks", compares, lambda: ranks.check_failures(group, own_failures))] if group.count > 1 else []


def run_checks(checks: Sequence[Check], file: ResultFile, *, prints: bool) -> list[Record]:
    """Run checks, and show each when it has ended."""
    records = []
    for check in checks:
        file.begin(check.name)
        record = run_check(check)
        records.append(record)
        file.add(record)
        if prints:
            print(record.row(), flush=True)
    return records


@functools.cache
def _products() -> arithmetic.Products:
    return arithmetic.measure_products()


def _roundoff(dense_dtype: ms.Type) -> float:
    """Return the rounding error of the factors of a dense layer in a type, on this device."""
    return max(_products().roundoff, arithmetic.ROUNDOFFS[dense_dtype])


def _arithmetic_checks(target: str) -> list[Check]:
    soc = soc_of(target)
    return [
        Check(
            "matrix products",
            "the format in which float32 matrices are multiplied with the one documented for the device",
            lambda: arithmetic.check_products(_products(), expected_products(soc)),
        ),
        Check(
            "float16 overflow",
            "a product beyond 65504 with what overflow handling assumes: 65504 on Ascend 910, infinity elsewhere",
            lambda: arithmetic.check_half_overflow(arithmetic.measure_half_overflow(), saturates=soc == FIRST_ASCEND),
        ),
        Check(
            "int32 overflow",
            "int32 products with those modulo 2^32, on which the hash behind dropout relies on CPU and GPU",
            lambda: arithmetic.check_wrap_around(is_needed=target in HASHING),
        ),
    ]


def _training_checks(name: str, dtype: ms.Type, group: ProcessGroup, reference: dict) -> list[Check]:
    """Return the checks of the small network with dense layers in a type."""
    return [
        Check(
            f"forward {name}",
            f"click probabilities of 64 rows with those of a CPU; {TOLERANCE}",
            lambda: small_training.check_forward(
                compiled_training(dtype, group).probabilities(), reference, _roundoff(dtype)
            ),
        ),
        Check(
            f"gradients {name}",
            f"the loss and the gradient of each parameter in one step with those of a CPU; {TOLERANCE}",
            lambda: small_training.check_gradients(measurements(dtype, group), reference, _roundoff(dtype)),
        ),
        Check(
            f"10 steps {name}",
            f"losses, and the way of all weights, in ten steps of Adam with those of a CPU; {TOLERANCE}, times root 10",
            lambda: small_training.check_steps(measurements(dtype, group), reference, _roundoff(dtype)),
        ),
    ]


def _behaviour_checks(target: str, group: ProcessGroup, reference: dict, folder: pathlib.Path) -> list[Check]:
    expected_digest = reference[masks.DIGEST] if target in HASHING else None
    must_skip = soc_of(target) != FIRST_ASCEND
    return [
        Check(
            "overflow handling",
            "weights after a float16 step whose gradients overflow: finite, and unchanged where overflow is infinity",
            lambda: small_training.check_overflow(compiled_training(ms.float16, group), must_skip=must_skip),
        ),
        Check(
            "dropout masks",
            "masks of one seed and step: equal; of others: different; the fraction of kept units within 5 standard "
            "deviations; on CPU and GPU the mask that is stored",
            lambda: masks.check_masks(masks.device_masks(target), expected_digest),
        ),
        Check(
            "resume",
            "the loss of a step with the loss of the same step after its checkpoint was loaded: equal bits",
            lambda: small_training.check_resume(compiled_training(ms.float32, group), folder),
        ),
    ]
