# SPDX-License-Identifier: Apache-2.0
"""The operators of a compiled graph, also of one that is meant for another device than this CPU."""

import collections
import pathlib
import re
import tempfile

import mindspore as ms
from mindspore import Tensor, nn

# %7(equiv_2_CNode_397) = PrimFunc_Cast(%6, I64(35)) ...
OPERATOR = re.compile(r"^\s+%\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(")


def compiled_operators(cell: nn.Cell, *inputs: Tensor) -> collections.Counter:
    """Return how often each operator occurs in the graph of `cell` that the frontend hands to the backend."""
    return collections.Counter(match[1] for match in map(OPERATOR.match, compiled_graph(cell, *inputs)) if match)


def compiled_graph(cell: nn.Cell, *inputs: Tensor) -> list[str]:
    """Return the lines of the graph of `cell` that the frontend hands to the backend, gradients expanded.

    The backend then looks for kernels.  If the CPU has none for an operator, that is no error here.
    """
    with tempfile.TemporaryDirectory() as folder:
        ms.set_context(save_graphs=1, save_graphs_path=folder)  # MS_DEV_SAVE_GRAPHS is read before the first graph only
        try:
            cell.compile(*inputs)
        except RuntimeError as error:
            if "Unsupported op" not in str(error):
                raise
        finally:
            ms.set_context(save_graphs=0)
        [path] = pathlib.Path(folder).glob("*_validate_*.ir")
        return path.read_text(encoding="utf-8").splitlines()
