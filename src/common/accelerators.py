# SPDX-License-Identifier: Apache-2.0
"""Accelerators of this machine, by the device files that their drivers create: MindSpore need not be imported."""

import glob

from src.common.errors import UserError

# In order of preference.
DEVICE_FILES = {"Ascend": ("/dev/*davinci[0-9]*",), "GPU": ("/dev/nvidia[0-9]*", "/dev/dxg")}


def has_driver(target: str) -> bool:
    """Return whether this machine has a driver for a target, "Ascend" or "GPU"."""
    return any(glob.glob(pattern) for pattern in DEVICE_FILES[target])


def find_accelerator() -> str | None:
    """Return the preferred target among those that this machine has a driver for; None if there is none."""
    return next(filter(has_driver, DEVICE_FILES), None)


def check_driver(target: str) -> None:
    """Raise UserError if --device_target names an accelerator that this machine has no driver for."""
    if target in DEVICE_FILES and not has_driver(target):
        raise UserError(
            f"--device_target={target}: this machine has no {' or '.join(DEVICE_FILES[target])}, so no driver for it; "
            "--device_target=CPU always works"
        )
