# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import pytest

from src.distributed.device import dense_dtype


@pytest.mark.parametrize(
    ("convert_dtype", "device", "expected"),
    [
        ("auto", "CPU", ms.float32),
        ("auto", "GPU", ms.float16),
        ("auto", "Ascend", ms.float16),
        ("True", "CPU", ms.float16),
        ("False", "Ascend", ms.float32),
    ],
)
def test_dense_layers_are_half_precision_where_it_pays_or_is_wanted(convert_dtype, device, expected):
    assert dense_dtype(convert_dtype, device) == expected
