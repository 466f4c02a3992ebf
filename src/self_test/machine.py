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
import numpy as np
import psutil
from mindspore._c_expression import MSContext, ms_ctx_param

from src.common.signals import signals_for_children
from src.distributed.device import Device
from src.distributed.environment import LAUNCHER_VARIABLES, TIMEOUT_VARIABLE, VISIBLE_DEVICES
from src.self_test.arithmetic import Products
from src.training.run_record import git_commit

UNKNOWN = "not found"
TOOL_SECONDS = 20
# Variables that change results or speed; others could be secrets and are left out.
VARIABLES = (
    *LAUNCHER_VARIABLES, TIMEOUT_VARIABLE, VISIBLE_DEVICES, "CUDA_VISIBLE_DEVICES", "ASCEND_TOOLKIT_HOME",
    "ASCEND_HOME_PATH", "ASCEND_OPP_PATH", "ASCEND_CUSTOM_OPP_PATH", "MS_ASCEND_CHECK_OVERFLOW_MODE",
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
    """Return what is known before a device is selected."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "commit": git_commit() or UNKNOWN,
        "MindSpore": ms.__version__,
        "Python": f"{platform.python_version()}, numpy {np.__version__}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores, {memory:.0f} GiB",
    }


def describe_device(device: Device) -> dict[str, str]:
    """Return what describes the device and its software; a value that cannot be had is the reason."""
    rows: dict[str, Callable[[], str]] = {
        "devices": lambda: f"{_count(device.target)} in this machine",
        "jit level": lambda: jit_level(device),
    }
    if device.target == "Ascend":
        rows["chip"] = lambda: device.soc
        rows["CANN"] = lambda: _versions(_cann_files())
        rows["driver"] = lambda: _versions(DRIVER_FILES)
        rows["npu-smi"] = lambda: _run_tool(ASCEND_TOOL)
    if device.target == "GPU":
        rows["CUDA"] = lambda: _versions(CUDA_FILES)
        rows["nvidia-smi"] = lambda: _run_tool(GPU_TOOL)
    return {name: _or_reason(value) for name, value in rows.items()}


def describe_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return those environment variables that matter, of launchers and of the device's software."""
    return {name: environment[name] for name in VARIABLES if name in environment}


def jit_level(device: Device) -> str:
    """Return the jit level of graphs, or MindSpore's choice for a chip if none is set."""
    chosen = MSContext.get_instance().get_param(ms_ctx_param.jit_level)
    if chosen:
        return chosen
    is_high = device.soc and MSContext.get_instance().ascend_soc_supports_feature("jit_level_o2_default")
    return f"not set, so {'O2' if is_high else 'O0'}"


def find_versions(text: str) -> list[str]:
    """Return the lines of a version file that name a version."""
    return [line.strip() for line in text.splitlines() if re.search(r"version.*\d", line, re.I)]


def _count(target):
    return 1 if target == "CPU" else getattr(ms.device_context, target.lower()).device_count()


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
    return output.strip()


def _or_reason(value):
    try:
        return value()
    except Exception as error:  # the report is made for machines on which something is wrong
        return f"{type(error).__name__}: {error}"
