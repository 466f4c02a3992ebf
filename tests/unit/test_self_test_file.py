# SPDX-License-Identifier: Apache-2.0
"""The file of the self-test, and what it says of the machine."""

import json

import numpy as np
import pytest

from src.distributed.device import Device
from src.self_test import machine
from src.self_test.check import Check, Record, Result, Status, relative_error
from src.self_test.result_file import ResultFile, file_name, format_json

CHECK = Check("sums", "a sum with 2", lambda: Result(Status.PASS, "fine"))


def test_the_file_is_complete_after_each_step_and_names_a_check_that_never_ends(tmp_path):
    path = tmp_path / "a.json"
    file = ResultFile(path, "python -m src.self_test", "today")
    file.add_machine({"chip": "ascend910"})
    file.begin("sums")
    begun = json.loads(path.read_text())
    assert (begun["running"], begun["checks"], begun["machine"]) == ("sums", [], {"chip": "ascend910"})
    file.add(Record(CHECK, Result(Status.FAIL, "3", {"values": [1.5, 2.5]}), 0.25))
    file.end("FAILED")
    ended = json.loads(path.read_text())
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
    assert ended["verdict"] == "FAILED"


def test_other_ranks_write_no_file_and_several_ranks_another_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ResultFile(None, "", "").end("passed")
    assert list(tmp_path.iterdir()) == []
    assert file_name(1) != file_name(2) == file_name(8)


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


def test_a_machine_without_the_tools_of_a_device_says_so(cpu):
    rows = machine.describe_device(Device("Ascend", "ascend910b"))
    assert (rows["CANN"], rows["driver"], rows["npu-smi"]) == ("not found",) * 3
    assert rows["devices"].startswith("RuntimeError: ")
    assert machine.describe_device(Device("CPU")) == {"devices": "1 in this machine", "jit level": "not set, so O0"}


def test_only_the_ascend_910_is_expected_to_multiply_in_float16():
    assert [machine.expected_products(Device("Ascend", soc)).name for soc in ("ascend910", "ascend910b", "")] == [
        "float16",
        "float32",
        "float32",
    ]
