# SPDX-License-Identifier: Apache-2.0
"""The checks of the self-test: they pass on the CPU, and each fails when its part of the product is wrong."""

import functools
import json
import math
import os
import re
import time

import numpy as np
import pytest

from src.checkpoint import load_into
from src.common import accelerators
from src.config import load_config
from src.cpu_kernels import build
from src.distributed.device import Device
from src.distributed.process_group import ProcessGroup
from src.self_test import __main__ as self_test
from src.self_test import arithmetic, commands, masks, problem, ranks, small_training, speed, suite
from src.self_test.arithmetic import Products
from src.self_test.check import Check, Result, Status, close, run_check
from src.self_test.reference import load_reference
from src.self_test.small_training import SmallTraining
from src.training.precision import choose_precision
from src.training.train_step import TrainStep

pytestmark = pytest.mark.usefixtures("cpu")
REFERENCE = load_reference()
SINGLE = 2.0**-24
SINGLE_PRECISION, HALF_PRECISION = (choose_precision(name, Device("CPU")) for name in ("False", "True"))


@functools.cache
def training(precision):
    return SmallTraining(precision, ProcessGroup(), "CPU")


@pytest.mark.slow
def test_everything_passes_on_the_cpu(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(self_test, "command_checks", lambda *_, **__: [])  # tests/system/test_self_test.py has them
    self_test.main(["--device_target=CPU", "--convert_dtype=True"])
    output = capsys.readouterr().out
    rows = output.partition("\nresult      check                what was found\n")[2].splitlines()
    assert [row.split()[0] for row in rows].count("pass") == 13
    assert rows[-1] == "passed: 13 of 13 checks, 2 not tested; attach self_test.json to a bug report"
    assert "--device_target=CPU" in next(row for row in rows if row.startswith("not tested  AllReduce"))


def test_the_speed_is_that_of_the_network_of_the_flags(monkeypatch):
    monkeypatch.setattr(speed, "STEPS", 3)
    flags = ("--batch_size=10", "--hidden_sizes=8", "--embedding_size=4")
    start = time.monotonic()
    result = speed.measure_speed(load_config(flags), "CPU", HALF_PRECISION)
    seconds = time.monotonic() - start
    step_ms, host_ms, first_s = map(
        float,
        re.fullmatch(
            r"([\d.]+) ms a step of 10 rows, [\d,]+ rows/s; the host takes ([\d.]+) ms of it; "
            r"the first step took ([\d.]+) s",
            result.text,
        ).groups(),
    )
    assert host_ms <= step_ms < 1000 * seconds
    assert 3 * step_ms / 1000 + first_s < seconds + 0.1


def test_a_failure_gives_exit_status_1_and_its_values_in_the_file(tmp_path, monkeypatch, capsys):
    wrong = Check("sums", "a sum", lambda: close({"sum": np.array([2.5])}, {"sum": np.array([2])}, 0.01))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(self_test, "command_checks", lambda *_, **__: [])
    monkeypatch.setattr(self_test, "device_checks", lambda *_: [wrong])
    with pytest.raises(SystemExit) as end:
        self_test.main(["--device_target=CPU"])
    assert end.value.code == 1
    output = capsys.readouterr().out
    assert "\nFAIL        sums                 largest error 2.5e-01 (sum), allowed 1.0e-02\n" in output
    assert output.endswith("FAILED: 1 of 2 checks, 0 not tested; attach self_test.json to a bug report\n")
    content = json.loads((tmp_path / "self_test.json").read_text())
    assert content["checks"][1]["actual"] == {"sum": [2.5]}
    assert content["verdict"] == "FAILED: 1 of 2 checks, 0 not tested"


@pytest.fixture
def broken_ascend(tmp_path, monkeypatch):
    """A machine with a driver and CANN for Ascend, as far as files tell, on which MindSpore does not load it."""
    (tmp_path / "davinci0").touch()
    (tmp_path / "version.cfg").write_text("runtime_running_version=[8.2.RC1]\n")
    tool = tmp_path / "npu-smi"
    tool.write_text("#!/bin/sh\necho '+----+'\necho '| OK |'\n")
    tool.chmod(0o755)
    monkeypatch.setitem(accelerators.DEVICE_FILES, "Ascend", (str(tmp_path / "davinci*"),))
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("target", ["Ascend", "auto"])
def test_a_device_that_cannot_be_selected_leaves_a_complete_report(broken_ascend, monkeypatch, capsys, target):
    monkeypatch.setattr(self_test, "command_checks", lambda *_, **__: [])
    monkeypatch.setattr("src.distributed.device._is_usable", lambda name: name == "Ascend")
    with pytest.raises(SystemExit) as end:
        self_test.main([f"--device_target={target}"])
    assert end.value.code == 1
    output = capsys.readouterr().out
    assert "\nFAIL        device               --device_target=Ascend --device_id=0: " in output
    assert output.endswith("\nFAILED: 1 of 1 checks, 0 not tested; attach self_test.json to a bug report\n")
    assert "| OK |" not in output
    content = json.loads((broken_ascend / "self_test.json").read_text())
    assert content["machine"]["CANN"] == f"{broken_ascend}/version.cfg: runtime_running_version=[8.2.RC1]"
    assert content["machine"]["npu-smi"] == ["+----+", "| OK |"]
    assert content["verdict"].startswith("FAILED: 1 of 1")
    assert "running" not in content
    traceback = "\n".join(content["checks"][0]["traceback"])
    assert "RuntimeError: Unsupported device target Ascend" in traceback  # the words of MindSpore


def test_a_precision_that_the_device_does_not_have_is_a_row_of_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(self_test, "command_checks", lambda *_, **__: [])
    monkeypatch.setattr(build, "AVX512_BFLOAT16", 1 << 31)  # no processor has that bit
    build.hidden_layer_library.cache_clear()
    with pytest.raises(SystemExit):
        self_test.main(["--device_target=CPU", "--convert_dtype=bfloat16"])
    assert "\nFAIL        device               --convert_dtype=bfloat16: this processor has" in capsys.readouterr().out


def test_the_commands_get_the_device_of_this_process(broken_ascend, monkeypatch):
    flags = []
    monkeypatch.setattr(suite, "check_commands", lambda given, _: flags.extend(given) or Result(Status.PASS, ""))
    monkeypatch.setenv("RANK_ID", "0")
    monkeypatch.setenv("ASCEND_DEVICE_ID", "3")
    with pytest.raises(SystemExit):
        self_test.main(["--device_target=Ascend"])
    device = json.loads((broken_ascend / "self_test.json").read_text())["checks"][1]
    assert "--device_id=3" in flags
    assert "--device_id=3" in device["text"]


def test_the_number_of_an_accelerator_does_not_matter_to_the_cpu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(suite, "check_commands", lambda flags, _: Result(Status.INFO, " ".join(flags)))
    monkeypatch.setattr(self_test, "device_checks", lambda *_: [])
    monkeypatch.setenv("RANK_ID", "0")
    monkeypatch.setenv("ASCEND_DEVICE_ID", "0,1")
    self_test.main(["--device_target=CPU"])
    assert "--device_id=0" in json.loads((tmp_path / "self_test.json").read_text())["checks"][0]["text"]


def test_an_exception_is_a_failure_in_one_line_with_its_traceback():
    def fail():
        raise RuntimeError("the device is gone\nC++ call stack")

    record = run_check(Check("name", "", fail))
    assert record.is_failure
    assert record.row() == "FAIL        name                 RuntimeError: the device is gone"
    assert record.to_json()["traceback"][-1] == "C++ call stack"


def in_float16(a, b):
    """Multiply as an Ascend 910 does: factors in float16, results no larger than 65504."""
    limit = np.finfo(np.float16).max
    halves = (np.clip(each, -limit, limit).astype(np.float16).astype(np.float32) for each in (a, b))
    return np.clip(np.matmul(*halves), -limit, limit).astype(a.dtype)


def in_bits(count):
    def multiply(a, b):
        fraction, exponent = np.frexp(a)
        return np.ldexp(np.round(fraction * 2**count) / 2**count, exponent).astype(np.float32) @ b

    return multiply


@pytest.mark.parametrize(
    ("multiply", "name", "roundoff"),
    [
        (np.matmul, "float32", 2.0**-24),
        (in_float16, "float16", 2.0**-11),
        (in_bits(11), "TF32", 2.0**-11),
        (in_bits(12), "HF32", 2.0**-12),
        (in_bits(8), "bfloat16", 2.0**-8),
    ],
)
def test_the_format_of_products_is_found(multiply, name, roundoff):
    measured = arithmetic.measure_products(multiply)
    assert (measured.name, measured.roundoff) == (name, roundoff)
    result = arithmetic.check_products(measured, Products(23, True))
    assert result.status is (Status.PASS if name == "float32" else Status.FAIL)
    assert result.details == {"bits": measured.bits, "is_wide": name != "float16"}


def test_saturation_passes_only_where_it_is_expected():
    assert arithmetic.measure_half_overflow(in_float16) == 65504
    for measured, saturates, expected in [
        (65504, True, Status.PASS),
        (65504, False, Status.FAIL),
        (math.inf, False, Status.PASS),
        (math.inf, True, Status.FAIL),
    ]:
        assert arithmetic.check_half_overflow(measured, saturates=saturates).status is expected


def test_integers_that_saturate_fail_only_where_the_hash_is_used():
    def saturating(a, b):
        return np.clip(a.astype(np.int64) * b, -(2**31), 2**31 - 1).astype(np.int32)

    assert arithmetic.check_wrap_around(is_needed=True).status is Status.PASS
    result = arithmetic.check_wrap_around(saturating, is_needed=True)
    assert result.status is Status.FAIL
    assert len(result.details["wrong"]) == arithmetic.WRONG_COUNT
    for element in result.details["wrong"]:
        product = element["a"] * element["b"]
        assert element["actual"] in (-(2**31), 2**31 - 1)  # which tells that the device saturates
        assert (element["expected"] - product) % 2**32 == 0
    assert arithmetic.check_wrap_around(saturating, is_needed=False).status is Status.INFO


def test_adam_with_another_epsilon_fails(monkeypatch):
    monkeypatch.setattr(problem, "EPSILON", 1.1 * problem.EPSILON)
    measured = SmallTraining(SINGLE_PRECISION, ProcessGroup(), "CPU").run()
    assert small_training.check_gradients(measured, REFERENCE, SINGLE).status is Status.PASS
    assert small_training.check_steps(measured, REFERENCE, SINGLE).status is Status.FAIL


def test_an_overflow_that_reaches_the_weights_fails():
    unguarded = SmallTraining(HALF_PRECISION, ProcessGroup(), "CPU")
    inner = unguarded.train_step
    unguarded.train_step = TrainStep(inner.network, inner.optimizer)  # with a loss scale of 1 it checks nothing
    result = small_training.check_overflow(unguarded, must_skip=False)
    assert (result.status, "NOT finite" in result.text) == (Status.FAIL, True)


def test_a_step_that_overflows_must_be_skipped_where_that_is_promised():
    skipping = training(HALF_PRECISION)
    assert small_training.check_overflow(skipping, must_skip=True).status is Status.PASS
    moving = training(SINGLE_PRECISION)  # nothing overflows, so it does its step
    assert small_training.check_overflow(moving, must_skip=True).status is Status.FAIL


def test_a_checkpoint_without_the_optimizer_fails(tmp_path, monkeypatch):
    assert small_training.check_resume(training(SINGLE_PRECISION), tmp_path / "a").status is Status.PASS
    monkeypatch.setattr(small_training, "load_into", lambda cell, path: load_into(cell.network, path))
    assert small_training.check_resume(training(SINGLE_PRECISION), tmp_path / "b").status is Status.FAIL


def test_a_checkpoint_that_is_not_loaded_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(small_training, "load_into", lambda cell, path: None)
    assert small_training.check_resume(training(SINGLE_PRECISION), tmp_path).status is Status.FAIL


def test_wrong_masks_fail():
    mask, digest = masks.device_mask("CPU"), REFERENCE[masks.DIGEST]
    other = mask.copy()
    other[5, 3] ^= True
    assert masks.check_masks(mask, None, digest).status is Status.PASS
    assert masks.check_masks(other, None, None).status is Status.PASS  # those of another generator
    assert masks.check_masks(other, None, digest).status is Status.FAIL
    assert masks.check_masks(mask | (np.arange(masks.WIDTH) % 16 == 0), None, None).status is Status.FAIL  # too many
    result = masks.check_masks(mask, "a fault", digest)
    assert (result.status, "a fault" in result.text) == (Status.FAIL, True)


class TwoRanks(ProcessGroup):
    """The first of two ranks, without the other one: it knows what that contributes.  error: added to one element."""

    def __init__(self, error=0):
        super().__init__()
        self.count, self.error = 2, error

    def all_reduce(self, numbers):
        total = numbers + ranks._numbers(1)
        total[-1] += self.error
        return total

    def gather(self, column):
        both = np.concatenate([column, ranks._numbers(1).astype(column.dtype)])
        both[-1] += self.error
        return both


@pytest.mark.parametrize(
    "check",
    [
        lambda group: ranks.check_all_reduce(group, group.all_reduce),
        lambda group: ranks.check_gather(group, np.float32),
        lambda group: ranks.check_gather(group, np.int32),
    ],
)
def test_a_collective_operation_off_by_one_fails(check):
    assert check(TwoRanks()).status is Status.PASS
    result = check(TwoRanks(error=1))
    assert result.status is Status.FAIL
    (element,) = result.details["wrong"]
    assert element["actual"] == element["expected"] + 1


def test_a_collective_operation_that_loses_elements_fails():
    result = ranks.check_all_reduce(TwoRanks(), lambda numbers: numbers[1:])
    assert (result.status, "shape (4098,)" in result.text) == (Status.FAIL, True)


def test_a_single_process_tells_how_to_test_the_collective_operations():
    assert ranks.how_to_test("Ascend", 8).endswith(
        "msrun --worker_num=8 --local_worker_num=8 --join=True python -m src.self_test --device_target=Ascend"
    )
    assert "--worker_num=2 " in ranks.how_to_test("CPU", 1)
    assert ranks.how_to_test("GPU", 1) == "one device"


def test_the_failure_of_another_rank_is_one_of_the_first():
    class Failed(ProcessGroup):
        def gather(self, column):
            return np.concatenate([column, [2]])

    assert ranks.check_failures(ProcessGroup(), 0).status is Status.PASS
    result = ranks.check_failures(Failed(0, 2), 0)
    assert result.text == "failed checks of each rank: 0, 2; see self_test_rank1.json"
    assert result.status is Status.FAIL
    assert ranks.check_failures(Failed(1, 2), 0).status is Status.INFO


def test_another_auc_fails():
    expected = REFERENCE["test_metrics"]
    for difference, status in ((0.009, Status.PASS), (-0.011, Status.FAIL), (0.011, Status.FAIL)):
        assert commands.judge_metrics({"AUC": expected["AUC"] + difference}, expected).status is status


def test_a_command_that_fails_is_named_with_its_message(monkeypatch):
    monkeypatch.setattr(commands, "ROWS", 0)
    result = commands.check_commands([], REFERENCE)
    assert result.status is Status.FAIL
    assert result.text.startswith(
        "src.criteo_like has ended with status 2: error: --rows=0 --seed=1: rows is at least 1"
    )
    assert result.details["output"][-1].startswith("error: --rows=0")


STACK = """
----------------------------------------------------
- C++ Call Stack: (For framework developers)
----------------------------------------------------
mindspore/ccsrc/runtime/graph_scheduler/actor/kernel_actor.cc:123 Launch
"""


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (f"Traceback (most recent call last):\nRuntimeError: Launch kernel failed, name:MatMul{STACK}\n\n",
         "RuntimeError: Launch kernel failed, name:MatMul"),
        (f"RuntimeError: Launch failed\n- Ascend Error Message:\nEZ9999: Inner Error!\n        more{STACK}",
         "EZ9999: Inner Error!"),
        ("ValueError: first\nloading\nerror: --batch_size=0: at least 1\n", "error: --batch_size=0: at least 1"),
        ("starting\nSegmentation fault\n\n", "Segmentation fault"),
        ("no error: here\nlast\n", "last"),
        ("\n", "no output"),
    ],
)  # fmt: skip
def test_the_error_of_a_command_is_found_above_the_stack_of_mindspore(output, error):
    failed = commands.CommandFailed("train.py", 1, output)
    assert str(failed) == f"train.py has ended with status 1: {error}"
    assert failed.output == output.splitlines()


def test_several_processes_leave_the_commands_to_one():
    (check,) = suite.command_checks(load_config([]), None, REFERENCE, is_alone=False)
    assert check.run().status is Status.NOT_TESTED
