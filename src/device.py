# SPDX-License-Identifier: Apache-2.0
"""Where the network runs."""

import glob

import mindspore as ms
import mindspore.dataset as ds

from src.errors import UserError

# In order of preference: the device files that the driver makes.
DEVICE_FILES = {"Ascend": ("/dev/*davinci[0-9]*",), "GPU": ("/dev/nvidia[0-9]*", "/dev/dxg")}


def place(target, device_id):
    """Select the device, for graph mode, and return its target; "auto" takes an accelerator if there is one."""
    chosen = next(filter(_is_usable, DEVICE_FILES), "CPU") if target == "auto" else target
    if chosen != "CPU" and not _has_driver(chosen):
        raise UserError(
            f"--device_target={chosen}: this machine has no {' or '.join(DEVICE_FILES[chosen])}, so no driver for it; "
            "--device_target=CPU always works"
        )
    try:
        ms.set_device(chosen, device_id if chosen != "CPU" else None)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--device_target={chosen} --device_id={device_id}: this machine has no such device that "
            f"MindSpore {ms.__version__} can use; --device_target=CPU always works"
        ) from error
    ms.set_context(mode=ms.GRAPH_MODE)
    print(f"device: {chosen}" + (f" {device_id}" if chosen != "CPU" else ""))
    return chosen


def dense_dtype(convert_dtype, device):
    """Return the type in which dense layers multiply on a device: float16 if that is wanted, "auto" where it pays."""
    return ms.float16 if convert_dtype == "True" or (convert_dtype == "auto" and device != "CPU") else ms.float32


def set_seed(seed):
    """Fix the initial weights, the dropout and the order of the batches."""
    ms.set_seed(seed)
    ds.config.set_seed(seed)


def _is_usable(target):
    # The driver is looked for first: without one, MindSpore's answer comes with a page of warnings.
    return _has_driver(target) and getattr(ms.device_context, target.lower()).is_available()


def _has_driver(target):
    return any(glob.glob(pattern) for pattern in DEVICE_FILES[target])
