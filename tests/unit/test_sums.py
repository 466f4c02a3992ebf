# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from mindspore import Tensor

from src.network.sums import PORTABLE, create_field_sum, create_row_sum
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
