# SPDX-License-Identifier: Apache-2.0
import pytest

from src.common.accelerators import check_driver, find_accelerator
from src.common.errors import UserError


@pytest.fixture
def device_files(tmp_path, monkeypatch):
    """A folder in place of /dev: files named ascend and gpu stand for the drivers."""
    patterns = {"Ascend": (str(tmp_path / "ascend*"),), "GPU": (str(tmp_path / "gpu*"), str(tmp_path / "wsl"))}
    monkeypatch.setattr("src.common.accelerators.DEVICE_FILES", patterns)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], None), (["other"], None), (["gpu0"], "GPU"), (["wsl"], "GPU"), (["gpu0", "ascend1"], "Ascend")],
)
def test_the_preferred_accelerator_with_a_driver_is_found(device_files, names, expected):
    for name in names:
        (device_files / name).touch()
    assert find_accelerator() == expected


@pytest.mark.parametrize(
    ("names", "target", "is_refused"),
    [
        ([], "CPU", False),
        ([], "auto", False),
        ([], "GPU", True),
        (["ascend0"], "GPU", True),
        (["gpu1"], "GPU", False),
        (["gpu1"], "Ascend", True),
        (["ascend0"], "Ascend", False),
    ],
)
def test_a_target_without_a_driver_is_refused_with_its_device_files(device_files, names, target, is_refused):
    for name in names:
        (device_files / name).touch()
    if is_refused:
        with pytest.raises(UserError, match=rf"--device_target={target}: this machine has no {device_files}/.*CPU"):
            check_driver(target)
    else:
        check_driver(target)
