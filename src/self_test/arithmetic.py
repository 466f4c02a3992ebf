# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of a device: the precision of products of float32 matrices, overflow of float16 and of int32.

An Ascend 910 multiplies float32 matrices in float16 and limits float16 results to 65504 instead of giving infinity;
others multiply in float32, or in a shorter format that keeps its range: TF32 (GPU), HF32 (Ascend 910B).
"""

import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.network.dropout import FIRST_FACTOR, SECOND_FACTOR
from src.self_test.check import Result, Status, verdict

SIZE = 16  # of the square matrices: a block of the matrix unit
FLOAT16_MAX, BEYOND_FLOAT16 = 65504.0, 1e5
FORMATS = {(23, True): "float32", (10, False): "float16", (10, True): "TF32", (11, True): "HF32", (7, True): "bfloat16"}
Multiply = Callable[[np.ndarray, np.ndarray], np.ndarray]
WRONG_COUNT = 5  # of the wrong elements that the file gets
ROUNDOFFS = {ms.float32: 2.0**-24, ms.float16: 2.0**-11, ms.bfloat16: 2.0**-8}


@dataclasses.dataclass(frozen=True)
class Products:
    """The arithmetic of products of float32 matrices: explicit bits of a factor, and whether its range is float32's."""

    bits: int
    is_wide: bool

    @property
    def name(self) -> str:
        """The name of the format, or its description."""
        return FORMATS.get((self.bits, self.is_wide), f"a format of {self.bits} bits")

    @property
    def roundoff(self) -> float:
        """The largest relative error of rounding a factor."""
        return 2.0 ** -(self.bits + 1)


class _MatMul(nn.Cell):
    def __init__(self):
        super().__init__()
        self.matmul = ops.MatMul()

    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        return self.matmul(a, b)


class _Multiply(nn.Cell):
    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b


def multiply_matrices(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the product of two matrices, computed by the device in a graph."""
    return _MatMul()(Tensor(a), Tensor(b)).asnumpy()


def measure_products(multiply: Multiply = multiply_matrices) -> Products:
    """Find out in which format the device multiplies float32 matrices.

    1 + 2^-k times 1 differs from 1 if a factor has k bits; 1e5 times 1 is 1e5 unless the range is float16's.
    """
    numbers = np.zeros((2 * SIZE, SIZE), np.float32)
    numbers[:, 0] = 1 + 2.0 ** -np.arange(2 * SIZE)
    numbers[0, 0] = BEYOND_FLOAT16
    products = multiply(numbers, np.eye(SIZE, dtype=np.float32))[:, 0]
    is_kept = products[1:] != 1
    bits = len(is_kept) if is_kept.all() else int(np.argmin(is_kept))
    return Products(bits, bool(FLOAT16_MAX < products[0] < np.inf))


def check_products(measured: Products, expected: Products) -> Result:
    """Compare the format of products of float32 matrices with the one that the device is documented to use."""
    text = f"float32 matrices are multiplied in {measured.name}, expected {expected.name}"
    return verdict(measured == expected, text, bits=measured.bits, is_wide=measured.is_wide)


def measure_half_overflow(multiply: Multiply = multiply_matrices) -> float:
    """Return what the device gives for 300 * 300 in a product of float16 matrices, which have 65504 at most."""
    matrix = (300 * np.eye(SIZE)).astype(np.float16)
    return float(multiply(matrix, matrix)[0, 0])


def check_half_overflow(measured: float, *, saturates: bool) -> Result:
    """Compare the float16 overflow of the device with what the product's overflow handling assumes of it."""
    expected = FLOAT16_MAX if saturates else float("inf")
    return verdict(measured == expected, f"300 * 300 in float16 gives {measured:g}, expected {expected:g}")


def multiply_integers(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the elementwise product of two int32 arrays, computed by the device in a graph."""
    return _Multiply()(Tensor(a), Tensor(b)).asnumpy()


def check_wrap_around(multiply: Multiply = multiply_integers, *, is_needed: bool) -> Result:
    """Multiply int32 numbers that overflow.  is_needed: the dropout of this device is a hash that relies on it."""
    factors = np.arange(1, 1025, dtype=np.int64) * FIRST_FACTOR % 2**31
    expected = (factors * SECOND_FACTOR).astype(np.uint32).view(np.int32)
    first, second = factors.astype(np.int32), np.full(factors.shape, SECOND_FACTOR, np.uint32).view(np.int32)
    actual = multiply(first, second)
    wrong = np.flatnonzero(actual != expected)
    text = f"of {len(expected)} int32 products {len(wrong)} do not wrap around modulo 2^32"
    details = {"wrong": first_elements(wrong, a=first, b=second, actual=actual, expected=expected)}
    if is_needed:
        return verdict(not wrong.size, text, **details)
    return Result(Status.INFO, f"{text}; nothing relies on it here", details)


def first_elements(indices: np.ndarray, **columns: np.ndarray) -> list[dict]:
    """Return the first few of these elements of columns, for the file."""
    return [
        {"index": int(index), **{name: column[index].item() for name, column in columns.items()}}
        for index in indices[:WRONG_COUNT]
    ]
