# SPDX-License-Identifier: Apache-2.0
"""The device of a process, Ascend, GPU or CPU, and the other processes that it trains with."""

import mindspore as ms
import mindspore.dataset as ds
from mindspore.communication import get_group_size, get_rank, init

from src.common.accelerators import DEVICE_FILES, check_driver, has_driver
from src.common.errors import UserError
from src.distributed.environment import ALONE, RANK_TABLE, Launcher, clear_other_launchers, read_launcher
from src.distributed.process_group import ProcessGroup
from src.distributed.rank_guard import joining
from src.distributed.scheduler import check_port, wait_for_scheduler


def set_up(target: str, device_id: int) -> tuple[str, ProcessGroup]:
    """Select the device, for graph mode, and join the other ranks if a launcher has started several.

    target: "auto" takes an accelerator if there is one.  device_id: used unless the launcher gives one.
    Return the target and the ProcessGroup.  To be called before any parameter is created.
    """
    launcher = read_launcher()
    clear_other_launchers(launcher)
    chosen = select_device(target, device_id, launcher)
    if launcher.kind is None:
        return chosen, ProcessGroup()
    _join(launcher)
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


def _join(launcher: Launcher) -> None:
    """Meet the other processes of a Launcher; UserError if that is impossible."""
    if launcher.kind == RANK_TABLE:  # enter() has not been called
        raise UserError(f"{launcher.rank_table}: MindSpore {ms.__version__} needs msrun; start the processes with that")
    scheduler = launcher.scheduler
    if scheduler is not None and launcher.is_scheduler:
        check_port(scheduler, "MS_SCHED_HOST", "MS_SCHED_PORT")
    elif scheduler is not None:
        wait_for_scheduler(scheduler, launcher.timeout)
    try:
        with joining():
            init()
    except RuntimeError as error:
        if scheduler is None:
            raise
        reason = next(iter(str(error).splitlines()), "").partition(" You can run")[0]
        raise UserError(
            f"not all of {launcher.count} processes have met at {scheduler}, {launcher.timeout}: start as "
            f"many, with the same MS_SCHED_HOST and MS_SCHED_PORT. MindSpore: {reason}"
        ) from error


def select_device(target: str, device_id: int, launcher: Launcher = ALONE) -> str:
    """Select the device, for graph mode, and return its target; "auto" takes an accelerator if there is one.

    device_id: used unless the Launcher gives one.  UserError if MindSpore cannot use the device.
    """
    chosen = next(filter(_is_usable, DEVICE_FILES), "CPU") if target == "auto" else target
    check_driver(chosen)
    number = launcher.device_id(device_id) if chosen != "CPU" else None
    try:
        ms.set_device(chosen, number)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--device_target={chosen} --device_id={number}: this machine has no such device that "
            f"MindSpore {ms.__version__} can use; --device_target=CPU always works"
        ) from error
    ms.set_context(mode=ms.GRAPH_MODE)
    print(f"device: {chosen}" + (f" {number}" if number is not None else ""))
    return chosen


def dense_dtype(convert_dtype: str, device: str) -> ms.Type:
    """Return the type in which dense layers multiply on a device: float16 if asked for, and by "auto" where it pays."""
    return ms.float16 if convert_dtype == "True" or (convert_dtype == "auto" and device != "CPU") else ms.float32


def set_seed(seed: int) -> None:
    """Fix the random numbers of initialisation and shuffling."""
    ms.set_seed(seed)
    ds.config.set_seed(seed)


def _is_usable(target: str) -> bool:
    # The driver is looked for first: without one, MindSpore's answer comes with a page of warnings.
    return has_driver(target) and getattr(ms.device_context, target.lower()).is_available()
