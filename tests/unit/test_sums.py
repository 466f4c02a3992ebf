# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.network.sums import PORTABLE, FieldSums, create_field_sum, create_row_sum
from tests.graphs import compiled_operators

pytestmark = pytest.mark.usefixtures("cpu")
VALUES = np.random.default_rng(1).normal(size=(300, 7, 5)).astype(np.float32)


@pytest.mark.parametrize("target", ["CPU", "GPU", "Ascend", PORTABLE])
def test_sums_are_those_of_numpy(target):
    fields = create_field_sum(target)(Tensor(VALUES)).asnumpy()
    np.testing.assert_allclose(fields, VALUES.sum(1, dtype=np.float64), rtol=1e-5, atol=1e-5)
    rows = create_row_sum(target)(Tensor(VALUES[:, 0])).asnumpy()
    np.testing.assert_allclose(rows, VALUES[:, 0].sum(0, dtype=np.float64), rtol=1e-5, atol=1e-5)


def test_the_sum_over_fields_of_a_network_to_export_fits_any_number_of_rows_and_any_runtime():
    operators = compiled_operators(create_field_sum(PORTABLE), Tensor(VALUES))
    assert operators["ReduceSum"] == 1 and "BatchMatMul" not in operators
    assert compiled_operators(create_field_sum("CPU"), Tensor(VALUES))["BatchMatMul"] == 1


class Weighted(nn.Cell):
    """A sum of all results of FieldSums with weights of their own."""

    def __init__(self, target):
        super().__init__()
        self.sums = FieldSums(target)

    def construct(self, vectors, *weights):
        total = 0
        for result, weight in zip(self.sums(vectors), weights):
            total = total + (result * weight).sum()
        return total


@pytest.mark.parametrize("target", ["CPU", PORTABLE])
def test_the_gradients_of_all_results_of_field_sums_meet(target):
    random = np.random.default_rng(2)
    rows, fields, width = VALUES.shape
    sizes = (rows, width), (rows, width), (rows, fields * width)
    of_sum, of_squares, of_inputs = (random.normal(size=size).astype(np.float32) for size in sizes)
    inputs = map(Tensor, (VALUES, of_sum, of_squares, of_inputs))
    value, gradient = ms.value_and_grad(Weighted(target))(*inputs)
    vectors = VALUES.astype(np.float64)
    expected = (vectors.sum(1) * of_sum).sum() + ((vectors**2).sum(1) * of_squares).sum()
    expected += (vectors.reshape(rows, -1) * of_inputs).sum()
    assert value.asnumpy().item() == pytest.approx(expected, rel=1e-4)
    expected = of_sum[:, None] + 2 * vectors * of_squares[:, None] + of_inputs.reshape(VALUES.shape)
    np.testing.assert_allclose(gradient.asnumpy(), expected, rtol=1e-4, atol=1e-5)
