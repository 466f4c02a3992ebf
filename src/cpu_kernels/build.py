# SPDX-License-Identifier: Apache-2.0
"""Compiles hidden_layer.cc at its first use, and keeps the library in the user's cache folder.

The products are those of the oneDNN that MindSpore brings along, in its function for matrices of bfloat16.
"""

import ctypes
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import mindspore as ms

from src.common.errors import UserError

SOURCE = pathlib.Path(__file__).with_name("hidden_layer.cc")
# Of all processors with bfloat16, so that machines that share a home folder can share the library.
FLAGS = ("-std=c++17", "-O3", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-shared", "-fPIC", "-pthread")
AVX512_BFLOAT16 = 0xE7  # dnnl_cpu_isa_avx512_core_bf16, whose bits are in every later one, AMX among them
PRODUCT = "dnnl_threadpool_interop_gemm_bf16bf16f32"
ASKED = "--convert_dtype=bfloat16"
INSTEAD = "use --convert_dtype=auto"


@functools.cache
def hidden_layer_library() -> pathlib.Path:
    """Return the library of the operators HiddenLayer and HiddenLayerGrad, compiled if it is not in the cache folder.

    UserError if the processor does not multiply in bfloat16, or if the library cannot be made.
    """
    onednn = _onednn()
    library = _cache_folder() / f"hidden_layer-{_digest(onednn)}.so"
    if not library.exists():
        _compile(onednn, library)
    return library


def _onednn() -> pathlib.Path:
    """Return the oneDNN of MindSpore; UserError if it does not multiply in bfloat16 here."""
    paths = sorted(pathlib.Path(ms.__file__).with_name("lib").glob("libdnnl.so*"))  # none for another processor
    library = ctypes.CDLL(str(paths[0])) if paths else None
    if library is None or library.dnnl_get_effective_cpu_isa() & AVX512_BFLOAT16 != AVX512_BFLOAT16:
        raise UserError(f"{ASKED}: this processor has no bfloat16 (avx512_bf16 or amx_bf16); {INSTEAD}")
    if not hasattr(library, PRODUCT):
        raise UserError(f"{ASKED}: the oneDNN of MindSpore {ms.__version__} has no {PRODUCT}; {INSTEAD}")
    return paths[0]


def _cache_folder() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "deepfm"


def _digest(onednn):
    parts = (SOURCE.read_text(), *FLAGS, str(onednn))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compile(onednn, library):
    """Compile the library.  Several processes may do so at once: each puts a complete file into the place."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise UserError(
            f"{ASKED}: an operator is to be compiled, and g++ is missing; on Debian and Ubuntu: apt-get install g++; "
            f"or {INSTEAD}"
        )
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            compiled = pathlib.Path(folder) / library.name
            command = [compiler, *FLAGS, SOURCE, onednn, f"-Wl,-rpath,{onednn.parent}", "-o", compiled]
            subprocess.run(command, check=True, capture_output=True, text=True)
            compiled.replace(library)
    except subprocess.CalledProcessError as error:
        reason = next((line for line in error.stderr.splitlines() if "error" in line), error.stderr.strip())
        raise UserError(f"{ASKED}: {compiler} cannot compile {SOURCE}: {reason}; {INSTEAD}") from error
    except OSError as error:
        raise UserError(f"{ASKED}: {library} cannot be written: {error}; set XDG_CACHE_HOME, or {INSTEAD}") from error
