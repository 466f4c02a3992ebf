# SPDX-License-Identifier: Apache-2.0
"""The device of a process, Ascend, GPU or CPU, and the other processes that it trains with."""

import contextlib
from dataclasses import dataclass

import mindspore as ms
from mindspore._c_expression import DeviceManagerConf, MSContext
from mindspore.communication import get_group_size, get_rank, init

from src.common.accelerators import DEVICE_FILES, check_driver, has_driver
from src.common.errors import UserError
from src.cpu_kernels.build import hidden_layer_library
from src.distributed.environment import (
    ALONE,
    RANK_TABLE,
    Launcher,
    asks_for_saturation,
    clear_other_launchers,
    read_launcher,
)
from src.distributed.process_group import ProcessGroup
from src.distributed.rank_guard import joining
from src.distributed.scheduler import check_port, wait_for_scheduler

# The chips of Ascend devices, as MindSpore 2.10 names them, by what its table of their features says (the function
# SocSupportsAscendFeatureForSocVersion in libmindspore_core.so).
ASCEND_910A = "ascend910"  # that of the Atlas 800 of 2019
BFLOAT16_SOCS = ("ascend910b", "ascend910_93", "ascend950")  # A2, A3, ...: feature "train_hq_dtype_line"
FUSION_SOCS = ("ascend910b", "ascend910_93")  # feature "graph_kernel_dvm"


@dataclass(frozen=True)
class Device:
    """The device of a process.

    target: "Ascend", "GPU" or "CPU".  soc: the chip of an Ascend, such as "ascend910b"; "" elsewhere.
    """

    target: str
    soc: str = ""

    def __str__(self):
        return f"{self.target} ({self.soc})" if self.soc else self.target

    @property
    def has_bfloat16(self) -> bool:
        """Whether there are products of matrices of bfloat16; on a CPU set_up() asks the processor."""
        return self.target == "CPU" or self.soc in BFLOAT16_SOCS

    @property
    def multiplies_in_half(self) -> bool:
        """Whether float32 matrices are multiplied in float16, too: the matrix unit of the 910A has no float32."""
        return self.soc == ASCEND_910A

    @property
    def saturates(self) -> bool:
        """Whether a number that is too large becomes the largest one, not infinity.

        The 910A has no other mode; a later Ascend does it if the user has asked for it.
        """
        return self.soc == ASCEND_910A or (self.target == "Ascend" and asks_for_saturation())

    @property
    def fuses_operators(self) -> bool:
        """Whether the jit level O1 differs from O0."""
        return self.target == "GPU" or self.soc in FUSION_SOCS


def set_up(
    target: str, device_id: int, jit_level: str = "auto", convert_dtype: str = "auto", *, has_dropout: bool = False
) -> tuple[Device, ProcessGroup]:
    """Select the device, for graph mode, and join the other ranks if a launcher has started several.

    target: "auto" takes an accelerator if there is one.  device_id: used unless the launcher gives one.
    jit_level, has_dropout: see choose_jit_level.  convert_dtype: for "bfloat16" the operator of a CPU is compiled.
    Return the Device and the ProcessGroup.  To be called before any parameter is created.
    """
    launcher = read_launcher()
    clear_other_launchers(launcher)
    device = select_device(target, device_id, launcher)
    if device.target == "CPU" and convert_dtype == "bfloat16":
        hidden_layer_library()
    if level := choose_jit_level(jit_level, device, has_dropout=has_dropout):
        ms.set_context(jit_config={"jit_level": level})  # before joining, whose collectives depend on it on Ascend
    if launcher.kind is None:
        return device, ProcessGroup()
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
    return device, ranks


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


def select_device(target: str, device_id: int, launcher: Launcher = ALONE) -> Device:
    """Select the device, for graph mode, and return it; "auto" takes an accelerator if there is one.

    device_id: used unless the Launcher gives one.  UserError if MindSpore cannot use the device.
    """
    chosen = next(filter(_is_usable, DEVICE_FILES), "CPU") if target == "auto" else target
    check_driver(chosen)
    number = launcher.device_id(device_id) if chosen != "CPU" else None
    try:
        ms.set_device(chosen, number)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"--device_target={chosen} --device_id={number}: this machine has no such device that MindSpore "
            f"{ms.__version__} can use; python -m src.self_test tells why; --device_target=CPU always works"
        ) from error
    ms.set_context(mode=ms.GRAPH_MODE)
    device = Device(chosen, MSContext.get_instance().get_ascend_soc_version() if chosen == "Ascend" else "")
    print(f"device: {device}" + (f" {number}" if number is not None else ""))
    return device


def ensure_device() -> str:
    """Select the CPU unless this process has selected a device; return the target of the one that is selected.

    For what a user calls as a library: nothing else of MindSpore's settings changes.
    """
    if not DeviceManagerConf.get_instance().is_device_enable():
        with contextlib.suppress(RuntimeError):  # an operator has run on the default device already
            ms.set_device("CPU")
    return ms.get_context("device_target")


def choose_jit_level(asked: str, device: Device, *, has_dropout: bool) -> str | None:
    """Return the level at which graphs are to be compiled; None for the choice of MindSpore.  Print what is unexpected.

    asked: "O0" or "O1", of which O1 fuses operators where the device can; "auto".
    has_dropout: whether the graphs draw dropout masks.  MindSpore compiles for the 910A with GE by default (its level
    O2, feature "jit_level_o2_default_ascend_jit"), and GE has no counterpart of the generator of masks,
    DropoutGenMaskExt (libmindspore_graph_ir.so): so "auto" is O0 there.
    """
    if asked == "auto":
        if not (has_dropout and device.soc == ASCEND_910A):
            return None
        print(f"note: graphs are compiled at jit level O0, as the default of {device} has no dropout masks")
        return "O0"
    if asked == "O1" and not device.fuses_operators:
        print(f"note: --jit_level=O1 fuses no operators on {device}: it is the same as O0 there")
    return asked


def set_seed(seed: int) -> None:
    """Fix the random numbers of initialisation."""
    ms.set_seed(seed)


def _is_usable(target: str) -> bool:
    # The driver is looked for first: without one, MindSpore's answer comes with a page of warnings.
    return has_driver(target) and getattr(ms.device_context, target.lower()).is_available()
