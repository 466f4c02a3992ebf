# SPDX-License-Identifier: Apache-2.0
"""The operators of a compiled graph, also of one that is meant for another device than this CPU."""

import collections
import itertools
import pathlib
import re
import tempfile
from collections.abc import Iterable

import mindspore as ms
from mindspore import Tensor, nn

# %7(equiv_2_CNode_397) = PrimFunc_Cast(%6, I64(35)) ...
#     : (<Tensor[Float32], (8, 4, 1)>) -> (<Tensor[Int32], (20, 1)>)
OPERATOR = re.compile(r"^\s+%\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(")
RESULT = re.compile(r"-> \(<.*?, \(([\d, ]*)\)>")
MISSING_KERNEL = ("Unsupported op", "Kernel select failed")


def compiled_operators(cell: nn.Cell, *inputs: Tensor) -> collections.Counter:
    """Return how often each operator occurs in the graph of `cell` that the frontend hands to the backend."""
    return count_operators(compiled_graph(cell, *inputs))


def count_operators(lines: Iterable[str]) -> collections.Counter:
    """Return how often each operator occurs in the lines of a graph."""
    return collections.Counter(match[1] for match in map(OPERATOR.match, lines) if match)


def result_shapes(lines: list[str], operator: str) -> list[tuple[int, ...]]:
    """Return the shape of the result of each operator with that name in the lines of a graph."""
    results = [
        RESULT.search(result)
        for line, result in itertools.pairwise(lines)
        if (match := OPERATOR.match(line)) and match[1] == operator
    ]
    return [tuple(int(size) for size in re.findall(r"\d+", result[1])) if result else () for result in results]


def compiled_graph(cell: nn.Cell, *inputs: Tensor) -> list[str]:
    """Return the lines of the graph of `cell` that the frontend hands to the backend, gradients expanded.

    The backend then looks for kernels.  If the CPU has none for an operator, that is no error here.
    """
    with tempfile.TemporaryDirectory() as folder:
        ms.set_context(save_graphs=1, save_graphs_path=folder)  # the variables that replace it are read only once
        try:
            cell.compile(*inputs)
        except (RuntimeError, TypeError) as error:
            if not any(message in str(error) for message in MISSING_KERNEL):
                raise
        finally:
            ms.set_context(save_graphs=0)
        graphs = pathlib.Path(folder).rglob("*_validate_*.ir")  # with several ranks also one that copies the parameters
        path = max(graphs, key=lambda path: path.stat().st_size)
        return path.read_text(encoding="utf-8").splitlines()
