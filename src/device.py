# SPDX-License-Identifier: Apache-2.0
"""Where the network runs."""
import glob

import mindspore as ms
import mindspore.dataset as ds

from src.errors import UserError

# In order of preference: the device files that a driver makes, and MindSpore's own word for it.
ACCELERATORS = {
    "Ascend": ("/dev/davinci[0-9]*", ms.device_context.ascend.is_available),
    "GPU": ("/dev/nvidia[0-9]*", ms.device_context.gpu.is_available),
}


def place(target, device_id):
    """Select the device, for graph mode, and return its target; "auto" takes an accelerator if there is one."""
    chosen = _first_available() if target == "auto" else target
    try:
        ms.set_device(chosen, device_id if chosen != "CPU" else None)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"--device_target={chosen} --device_id={device_id}: this machine has no such device that "
                        f"MindSpore {ms.__version__} can use; --device_target=CPU always works") from error
    ms.set_context(mode=ms.GRAPH_MODE)
    print(f"device: {chosen}" + (f" {device_id}" if chosen != "CPU" else ""))
    return chosen


def set_seed(seed):
    """Fix the initial weights, the dropout and the order of the batches."""
    ms.set_seed(seed)
    ds.config.set_seed(seed)


def _first_available():
    # Asking MindSpore costs a page of warnings where there is no driver, so look for the driver first.
    for target, (device_files, is_available) in ACCELERATORS.items():
        if glob.glob(device_files) and is_available():
            return target
    return "CPU"
