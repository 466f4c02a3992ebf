# SPDX-License-Identifier: Apache-2.0
"""The file of the self-test, and what it says of the machine."""

import json
import os

import numpy as np
import pytest

from src.distributed.device import Device
from src.distributed.environment import MSRUN, Launcher
from src.self_test import machine
from src.self_test.check import Check, Record, Result, Status, relative_error
from src.self_test.results import Results, file_name, format_json

CHECK = Check("sums", "a sum with 2", lambda: Result(Status.PASS, "fine"))
FAILURE = Record(CHECK, Result(Status.FAIL, "3", {"values": [1.5, 2.5]}), 0.25)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_file_is_complete_after_each_step_and_names_a_check_that_never_ends(folder, capsys):
    results = Results(0, 1, "python -m src.self_test", "today")
    results.describe_start({"RANK_ID": "0"}, "none")
    results.describe({"chip": "ascend910", "npu-smi": ["+--+", "|  |"]})
    described = json.loads((folder / "self_test.json").read_text())
    assert described["machine"] == {"chip": "ascend910", "npu-smi": ["+--+", "|  |"]}
    assert (described["environment"], described["launcher"]) == ({"RANK_ID": "0"}, "none")
    results.begin("sums")
    begun = json.loads((folder / "self_test.json").read_text())
    assert (begun["running"], begun["checks"]) == ("sums", [])
    results.add(FAILURE)
    results.end()
    ended = json.loads((folder / "self_test.json").read_text())
    assert "running" not in ended
    assert ended["checks"] == [
        {
            "check": "sums",
            "status": "FAIL",
            "text": "3",
            "compares": "a sum with 2",
            "seconds": 0.25,
            "values": [1.5, 2.5],
        }
    ]
    assert ended["verdict"] == "FAILED: 1 of 1 checks, 0 not tested"
    assert capsys.readouterr().out.splitlines() == [
        "the results go to self_test.json, after each check",
        "chip        ascend910",
        "running sums",
        "",
        "result      check                what was found",
        "FAIL        sums                 3",
        "FAILED: 1 of 1 checks, 0 not tested; attach self_test.json to a bug report",
    ]


def test_another_rank_is_silent_until_it_fails(folder, capsys):
    (folder / "self_test_rank3.json").write_text("of an earlier run")
    results = Results(3, 8, "", "")
    results.describe({"chip": "ascend910"})
    results.begin("sums")
    assert list(folder.iterdir()) == []
    results.add(FAILURE)
    assert capsys.readouterr().out == "rank 3: FAIL        sums                 3\n"
    content = json.loads((folder / "self_test_rank3.json").read_text())
    assert (content["machine"], content["checks"][0]["values"]) == ({"chip": "ascend910"}, [1.5, 2.5])
    results.end()
    assert capsys.readouterr().out == (
        "rank 3: FAILED: 1 of 1 checks, 0 not tested; attach self_test_rank3.json to a bug report\n"
    )


def test_each_rank_has_a_file_of_its_own():
    assert file_name(0, 1) == "self_test.json"
    assert len({file_name(rank, 3) for rank in (0, 1, 2, None)}) == 4


def test_numbers_are_on_one_line_and_texts_on_lines_of_their_own():
    content = {"a": [[1, 2.5], [3, 4]], "b": ["x", "y"], "c": {}, "d": [], "e": [{"f": 1}]}
    text = format_json(content)
    assert json.loads(text) == content
    assert ' "a": [[1, 2.5], [3, 4]],\n "b": [\n  "x",\n  "y"\n ],\n' in text


def test_the_relative_error_is_that_of_the_largest_element():
    assert relative_error([1.0, -4.5], [1.1, -4.0]) == pytest.approx(0.5 / 4)
    assert relative_error([np.nan, 1.0], [1.0, 1.0]) == np.inf
    with pytest.raises(ValueError, match="shape"):
        relative_error([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    "versions",
    [
        ["# version: 1.0", "runtime_running_version=[8.2.RC1:8.2.RC1]"],
        ["Version=25.0.rc1", "innerversion=V100R001C21"],
        ["CUDA Version 11.6.1"],
        [],
    ],
)
def test_versions_are_found_in_the_files_of_drivers_and_toolkits(versions):
    text = "\n".join(["path=/usr/local", *versions, "arch=x86_64", ""])
    assert machine.find_versions(text) == versions


def test_variables_that_could_be_secrets_are_left_out():
    given = {"RANK_ID": "1", "ASCEND_RT_VISIBLE_DEVICES": "0", "AWS_SECRET_ACCESS_KEY": "x", "PATH": "y"}
    assert machine.describe_variables(given) == {"RANK_ID": "1", "ASCEND_RT_VISIBLE_DEVICES": "0"}


def test_a_machine_without_the_tools_of_a_device_says_so():
    assert machine.describe_toolkit("Ascend") == dict.fromkeys(("CANN", "driver", "npu-smi"), "not found")
    assert machine.describe_toolkit("GPU") == dict.fromkeys(("CUDA", "nvidia-smi"), "not found")
    assert machine.describe_toolkit("CPU") == {}


def test_a_tool_that_hangs_is_ended(folder, monkeypatch):
    (folder / "npu-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "npu-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(machine, "TOOL_SECONDS", 0.1)
    assert machine.describe_toolkit("Ascend")["npu-smi"].startswith("TimeoutExpired: ")


def test_a_device_is_described_even_if_its_number_is_unknown(cpu):
    assert machine.describe_device(Device("CPU")) == f"CPU; jit level {machine.jit_level()}"
    text = machine.describe_device(Device("Ascend", "ascend910b"))
    assert text.startswith("Ascend (ascend910b), RuntimeError: ")


def test_the_launcher_is_named():
    assert machine.describe_launcher(Launcher()) == "none"
    assert machine.describe_launcher(Launcher(MSRUN, 3, 8)) == "msrun, rank 3 of 8"


def test_only_the_ascend_910_is_expected_to_multiply_in_float16():
    assert [machine.expected_products(Device("Ascend", soc)).name for soc in ("ascend910", "ascend910b", "")] == [
        "float16",
        "float32",
        "float32",
    ]
