# SPDX-License-Identifier: Apache-2.0
"""The machine, for a bug report: versions of all software, the device, and the environment of the launcher."""

import glob
import os
import pathlib
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping

import mindspore as ms
import psutil
from mindspore._c_expression import MSContext, ms_ctx_param

from src.common.signals import signals_for_children
from src.distributed.device import Device
from src.distributed.environment import (
    LAUNCHER_VARIABLES,
    OVERFLOW_MODE_VARIABLE,
    TIMEOUT_VARIABLE,
    VISIBLE_DEVICES,
    Launcher,
)
from src.self_test.arithmetic import Products
from src.training.run_record import software_versions

UNKNOWN = "not found"
TOOL_SECONDS = 20
# Variables that change results or speed; others could be secrets and are left out.
VARIABLES = (
    *LAUNCHER_VARIABLES, TIMEOUT_VARIABLE, VISIBLE_DEVICES, "CUDA_VISIBLE_DEVICES", "ASCEND_TOOLKIT_HOME",
    "ASCEND_HOME_PATH", "ASCEND_OPP_PATH", "ASCEND_CUSTOM_OPP_PATH", OVERFLOW_MODE_VARIABLE,
    "ASCEND_LAUNCH_BLOCKING", "HCCL_CONNECT_TIMEOUT", "HCCL_DETERMINISTIC", "HCCL_IF_IP", "HCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS",
)  # fmt: skip
CANN_FILES = ("{root}/version.cfg", "{root}/compiler/version.info", "{root}/*-linux/ascend_toolkit_install.info")
CANN_ROOTS = ("/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/latest", "/usr/local/Ascend/cann")
DRIVER_FILES = ("/usr/local/Ascend/driver/version.info",)
CUDA_FILES = ("/usr/local/cuda/version.json", "/usr/local/cuda/version.txt")
ASCEND_TOOL, GPU_TOOL = ("npu-smi", "info"), ("nvidia-smi",)


def expected_products(device: Device) -> Products:
    """Return the arithmetic of products of float32 matrices that a device is documented to have."""
    return Products(bits=10, is_wide=False) if device.multiplies_in_half else Products(bits=23, is_wide=True)


def describe_software() -> dict[str, str]:
    """Return the versions of software that every machine has, and its size."""
    memory = psutil.virtual_memory().total / 2**30
    system = f"{platform.platform()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    return {name: version or UNKNOWN for name, version in software_versions().items()} | {"system": system}


def describe_toolkit(target: str) -> dict[str, str | list[str]]:
    """Return the versions of the software of a device, found without it, and what its tool says, as lines.

    A value that cannot be had is the reason.
    """
    rows: dict[str, Callable[[], str | list[str]]] = {}
    if target == "Ascend":
        rows["CANN"] = lambda: _versions(_cann_files())
        rows["driver"] = lambda: _versions(DRIVER_FILES)
        rows["npu-smi"] = lambda: _run_tool(ASCEND_TOOL)
    if target == "GPU":
        rows["CUDA"] = lambda: _versions(CUDA_FILES)
        rows["nvidia-smi"] = lambda: _run_tool(GPU_TOOL)
    return {name: _or_reason(value) for name, value in rows.items()}


def describe_device(device: Device) -> str:
    """Return the name of a device, how many of them this machine has, and the jit level."""
    level = f"jit level {jit_level()}"
    if device.target == "CPU":
        return f"{device}; {level}"
    return f"{device}, {_or_reason(lambda: str(device_count(device.target)))} in this machine; {level}"


def describe_launcher(launcher: Launcher) -> str:
    """Return the launcher of this process; start-up has turned one by rank table into msrun."""
    return f"{launcher.kind}, rank {launcher.rank} of {launcher.count}" if launcher.kind else "none"


def describe_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return those environment variables that matter, of launchers and of the device's software.

    environment: by default that with which the process has started, as start-up translates or removes variables.
    """
    given = psutil.Process().environ() if environment is None else environment
    return {name: given[name] for name in VARIABLES if name in given}


def jit_level() -> str:
    """Return the level at which graphs are compiled."""
    return MSContext.get_instance().get_param(ms_ctx_param.jit_level) or "not set: MindSpore's choice"


def device_count(target: str) -> int:
    """Return the number of devices that MindSpore sees; the CPU is one."""
    return 1 if target == "CPU" else getattr(ms.device_context, target.lower()).device_count()


def find_versions(text: str) -> list[str]:
    """Return the lines of a version file that name a version."""
    return [line.strip() for line in text.splitlines() if re.search(r"version.*\d", line, re.I)]


def _cann_files():
    named = [os.environ[name] for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH") if os.environ.get(name)]
    return [pattern.format(root=root) for root in (*named, *CANN_ROOTS) for pattern in CANN_FILES]


def _versions(patterns):
    """Return the versions that the first of these files names."""
    for pattern in patterns:
        for name in sorted(glob.glob(pattern)):
            if found := find_versions(pathlib.Path(name).read_text(encoding="utf-8", errors="replace")):
                return f"{name}: {'; '.join(found)}"
    return UNKNOWN


def _run_tool(command):
    if shutil.which(command[0]) is None:
        return UNKNOWN
    with signals_for_children():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=TOOL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return output.strip().splitlines()


def _or_reason(value):
    try:
        return value()
    except Exception as error:  # the report is made for machines on which something is wrong
        return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
