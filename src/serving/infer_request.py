# SPDX-License-Identifier: Apache-2.0
"""An inference request of the Open Inference Protocol, whether it came as JSON or by gRPC."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from src.serving.request_errors import RequestError, RequestTooLarge

BYTES, INT64, FP32, FP64 = "BYTES", "INT64", "FP32", "FP64"
PROBABILITY = "probability"  # the only output that can be requested by name
EXPLAIN = "explain"  # the parameter that adds the parts of the logit to the outputs
SMALLEST_INT64, LARGEST_INT64 = -(2**63), 2**63 - 1


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output of n rows, one element each.

    data: BYTES and INT64 as lists of bytes and int, FP64 of an input as a list of float; FP32 and FP64 of an output as
    arrays of numpy.
    """

    name: str
    datatype: str
    data: Any


@dataclasses.dataclass(frozen=True)
class InferRequest:
    """The content of a request.  id: "" if it has none.  explain: whether the parts of the logit are asked for."""

    id: str
    tensors: list[Tensor]
    explain: bool


@dataclasses.dataclass(frozen=True)
class InferResponse:
    """The answer to a request.  id: that of the request.  version: of the model."""

    id: str
    version: str
    outputs: list[Tensor]


def check_count(where: str, count: int, max_rows: int) -> None:
    """Raise RequestTooLarge for an input of more elements than rows may be in progress, before they are visited."""
    if count > max_rows:
        raise RequestTooLarge(f"{where} has {count:,} elements, the limit of rows is {max_rows:,}; split the request")


def check_shape(where: str, shape: Sequence[object], count: int) -> None:
    """Raise RequestError unless an input of `count` elements has the shape [n] or [n, 1] with n = count, at least 1."""
    if list(shape) not in ([count], [count, 1]) or any(type(each) is not int for each in shape):
        raise RequestError(f"{where}: its shape must be [{count}] or [{count}, 1], as it has {count} elements")
    if count == 0:
        raise RequestError(f"{where} is empty; a request has at least one row")


def check_datatype(where: str, datatype: str) -> None:
    """Raise RequestError unless an input has one of the types that rows are made of."""
    if datatype not in (BYTES, INT64, FP64):
        raise RequestError(f"{where}: its datatype must be {BYTES} or {INT64}, or {FP64} for floats")


def check_outputs(names: Sequence[object]) -> None:
    """Raise RequestError if a requested output does not exist."""
    if any(name != PROBABILITY for name in names):
        raise RequestError(f"outputs: the only one that can be requested is {PROBABILITY}")
