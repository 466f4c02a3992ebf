# SPDX-License-Identifier: Apache-2.0
"""oneDNN, with which MindSpore multiplies matrices on a CPU, and its products of float32 matrices in bfloat16.

There oneDNN rounds the factors to bfloat16 and adds their products in float32, in the matrix unit AMX; the matrices
stay float32.  oneDNN leaves products in float32 that it takes for too small to gain.  MindSpore has no setting for it,
so the oneDNN that MindSpore has loaded is asked itself.  Source: oneDNN Developer Guide, "Primitive Attributes:
floating-point math mode".
"""

import ctypes
import pathlib

import mindspore as ms

from src.common.errors import UserError

AMX = 0xFEF  # dnnl_cpu_isa_avx512_core_amx, whose bits are in every later one
BFLOAT16 = 1  # dnnl_fpmath_mode_bf16
SUCCESS = 0  # dnnl_success


def multiply_in_bfloat16() -> None:
    """Let oneDNN multiply float32 matrices in bfloat16, in all graphs that this process compiles from now on.

    UserError if the processor cannot.  Those with AVX-512's bfloat16 alone cannot either: oneDNN 3.10 computes in
    float32 there.
    """
    library = _load()
    if library is None or library.dnnl_get_effective_cpu_isa() & AMX != AMX:
        raise UserError(
            "--convert_dtype=bfloat16: this processor has no AMX, in which oneDNN multiplies float32 matrices in "
            "bfloat16; use --convert_dtype=auto"
        )
    status = library.dnnl_set_default_fpmath_mode(BFLOAT16)
    if status != SUCCESS:
        raise UserError(f"--convert_dtype=bfloat16: oneDNN refuses it with status {status}; use --convert_dtype=auto")


def _load():
    """Return the oneDNN of MindSpore; None if this MindSpore multiplies without it."""
    paths = sorted(pathlib.Path(ms.__file__).with_name("lib").glob("libdnnl.so*"))
    return ctypes.CDLL(str(paths[0])) if paths else None
