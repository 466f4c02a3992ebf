# SPDX-License-Identifier: Apache-2.0
"""Where a process runs, and with which others: Ascend, GPU or CPU, and the launchers that start several processes."""

import glob
import os

import mindspore as ms
import mindspore.dataset as ds
from mindspore.communication import get_group_size, get_rank, init

from src.errors import UserError
from src.ranks import Ranks

# In order of preference: the device files that the driver makes.
DEVICE_FILES = {"Ascend": ("/dev/*davinci[0-9]*",), "GPU": ("/dev/nvidia[0-9]*", "/dev/dxg")}


def set_up(target, device_id):
    """Select the device, for graph mode, and join the other ranks if a launcher started this process as one of several.

    target: "auto" takes an accelerator if there is one.  device_id: of which card, unless the launcher says.
    Return the target and the Ranks.  To be called before any parameter is made.
    """
    launcher = find_launcher(os.environ)
    chosen = place(target, find_device_id(os.environ, launcher, device_id))
    if launcher is None:
        return chosen, Ranks()
    if launcher != "rank table":
        os.environ.pop("RANK_TABLE_FILE", None)  # with it MindSpore would not number the devices of this machine
    init()
    ranks = Ranks(get_rank(), get_group_size())
    print(f"rank {ranks.rank} of {ranks.count}")
    if ranks.count > 1:
        ms.set_auto_parallel_context(
            parallel_mode=ms.ParallelMode.DATA_PARALLEL,
            gradients_mean=True,
            device_num=ranks.count,
            parameter_broadcast=True,
        )
    return chosen, ranks


def find_launcher(environment):
    """Return what started this process as one of several: "msrun", "mpirun" or "rank table"; None if it is alone."""
    if "MS_ROLE" in environment:
        return "msrun"
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return "mpirun"
    if "RANK_TABLE_FILE" in environment and int(environment.get("RANK_SIZE", "1")) > 1:
        return "rank table"
    return None


def find_device_id(environment, launcher, device_id):
    """Return the id of the card, None if it is msrun that gives each rank its own.  device_id: what the user says.

    ASCEND_DEVICE_ID is set by ModelArts, DEVICE_ID by whoever starts ranks.
    """
    if launcher == "msrun":
        return None
    if "ASCEND_DEVICE_ID" in environment:
        return int(environment["ASCEND_DEVICE_ID"])
    if launcher == "mpirun":
        return int(environment["OMPI_COMM_WORLD_LOCAL_RANK"])
    return device_id if launcher is None else int(environment["DEVICE_ID"])


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
    print(f"device: {chosen}" + (f" {device_id}" if chosen != "CPU" and device_id is not None else ""))
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
