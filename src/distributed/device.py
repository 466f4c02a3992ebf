# SPDX-License-Identifier: Apache-2.0
"""Where a process runs, and with which others: Ascend, GPU or CPU, and the launchers that start several processes."""

import glob
import os

import mindspore as ms
import mindspore.dataset as ds
from mindspore.communication import get_group_size, get_rank, init

from src.common.errors import UserError
from src.distributed.environment import ALONE, MSRUN, RANK_TABLE, clear_others, read_launcher
from src.distributed.process_group import ProcessGroup
from src.distributed.rank_guard import joining
from src.distributed.scheduler import check_port, describe_timeout, wait_for_scheduler

# In order of preference: the device files that the driver makes.
DEVICE_FILES = {"Ascend": ("/dev/*davinci[0-9]*",), "GPU": ("/dev/nvidia[0-9]*", "/dev/dxg")}


def set_up(target, device_id):
    """Select the device, for graph mode, and join the other ranks if a launcher started this process as one of several.

    target: "auto" takes an accelerator if there is one.  device_id: of which card, unless the launcher says.
    Return the target and the ProcessGroup.  To be called before any parameter is made.
    """
    launcher = read_launcher(os.environ)
    clear_others(os.environ, launcher)  # with a rank table left MindSpore would not number the devices of this machine
    chosen = select_device(target, device_id, launcher)
    if launcher.kind is None:
        return chosen, ProcessGroup()
    _join(launcher, chosen)
    ranks = ProcessGroup(get_rank(), get_group_size())
    print(f"rank {ranks.rank} of {ranks.count}")
    if ranks.count > 1:
        ms.set_auto_parallel_context(
            parallel_mode=ms.ParallelMode.DATA_PARALLEL,
            gradients_mean=True,
            device_num=ranks.count,
            parameter_broadcast=True,
        )
    return chosen, ranks


def _join(launcher, target):
    """Meet the other processes of a Launcher; UserError if that cannot be."""
    if launcher.kind == RANK_TABLE and target != "Ascend":
        raise UserError(
            f"RANK_TABLE_FILE={os.environ['RANK_TABLE_FILE']}: a rank table is for Ascend, and the device is {target}; "
            "unset RANK_TABLE_FILE to run alone, or start the processes with msrun"
        )
    if launcher.is_scheduler:
        check_port(*launcher.scheduler, ("MS_SCHED_HOST", "MS_SCHED_PORT"))
    elif launcher.kind == MSRUN:
        wait_for_scheduler(launcher)
    try:
        with joining():
            init()
    except RuntimeError as error:
        if launcher.kind != MSRUN:
            raise
        reason = next(iter(str(error).splitlines()), "").partition(" You can run")[0]
        raise UserError(
            f"not all of {launcher.count} processes have met at {launcher.address}, {describe_timeout()}: start as "
            f"many, with the same MS_SCHED_HOST and MS_SCHED_PORT. MindSpore: {reason}"
        ) from error


def select_device(target, device_id, launcher=ALONE):
    """Select the device, for graph mode, and return its target; "auto" takes an accelerator if there is one.

    device_id: of which card, unless the Launcher says.
    """
    chosen = next(filter(_is_usable, DEVICE_FILES), "CPU") if target == "auto" else target
    if chosen != "CPU" and not _has_driver(chosen):
        raise UserError(
            f"--device_target={chosen}: this machine has no {' or '.join(DEVICE_FILES[chosen])}, so no driver for it; "
            "--device_target=CPU always works"
        )
    device_id = launcher.device_id(device_id) if chosen != "CPU" else None
    try:
        ms.set_device(chosen, device_id)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--device_target={chosen} --device_id={device_id}: this machine has no such device that "
            f"MindSpore {ms.__version__} can use; --device_target=CPU always works"
        ) from error
    ms.set_context(mode=ms.GRAPH_MODE)
    print(f"device: {chosen}" + (f" {device_id}" if device_id is not None else ""))
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
