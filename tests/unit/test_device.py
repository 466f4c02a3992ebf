# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import pytest

from src.distributed.device import Device, choose_jit_level, select_device, set_up

ASCEND_910A, ASCEND_910B = Device("Ascend", "ascend910"), Device("Ascend", "ascend910b")
FUSION_NOTE = "note: --jit_level=O1 fuses no operators on CPU: it is the same as O0 there\n"
DROPOUT_NOTE = "note: graphs are compiled at jit level O0, as the default of Ascend (ascend910) has no dropout masks\n"


def test_the_cpu_is_a_device_without_a_chip():
    assert select_device("CPU", 0) == Device("CPU", "")


@pytest.mark.parametrize(("device", "text"), [(Device("CPU"), "CPU"), (ASCEND_910B, "Ascend (ascend910b)")])
def test_a_device_is_printed_with_its_chip(device, text):
    assert str(device) == text


@pytest.mark.parametrize(
    ("asked", "device", "has_dropout", "level", "note"),
    [
        ("auto", Device("CPU"), True, None, ""),
        ("auto", Device("GPU"), True, None, ""),
        ("auto", ASCEND_910B, True, None, ""),
        ("auto", ASCEND_910A, True, "O0", DROPOUT_NOTE),
        ("auto", ASCEND_910A, False, None, ""),
        ("O0", ASCEND_910A, True, "O0", ""),
        ("O1", ASCEND_910B, True, "O1", ""),
        ("O1", Device("GPU"), True, "O1", ""),
        ("O1", Device("CPU"), True, "O1", FUSION_NOTE),
    ],
)
def test_the_jit_level_is_that_of_mindspore_unless_asked_for_or_needed(asked, device, has_dropout, level, note, capsys):
    assert choose_jit_level(asked, device, has_dropout=has_dropout) == level
    assert capsys.readouterr().out == note


def test_a_later_ascend_saturates_only_if_asked_to(monkeypatch):
    devices = (Device("CPU"), ASCEND_910A, ASCEND_910B)
    assert [device.saturates for device in devices] == [False, True, False]
    monkeypatch.setenv("MS_ASCEND_CHECK_OVERFLOW_MODE", "SATURATION_MODE")
    assert [device.saturates for device in devices] == [False, True, True]


def test_the_jit_level_reaches_mindspore(cpu):
    before = ms.get_context("jit_config")
    try:
        set_up("CPU", 0)
        assert ms.get_context("jit_config") == before
        set_up("CPU", 0, "O0")
        assert ms.get_context("jit_config") == {"jit_level": "O0"}
    finally:
        ms.set_context(jit_config=before or {"jit_level": "O0"})
