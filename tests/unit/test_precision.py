# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import pytest

from src.common.errors import UserError
from src.distributed.device import Device
from src.training.precision import Precision, choose_precision

CPU, GPU = Device("CPU"), Device("GPU")
ASCEND_910A, ASCEND_910B, ASCEND_A3 = (Device("Ascend", soc) for soc in ("ascend910", "ascend910b", "ascend910_93"))
SINGLE = Precision(ms.float32, 1.0, checks_overflow=False)
HALF = Precision(ms.float16, 1024.0, checks_overflow=True)
BFLOAT = Precision(ms.bfloat16, 1.0, checks_overflow=False)


@pytest.mark.parametrize(
    ("convert_dtype", "device", "expected"),
    [
        ("auto", CPU, SINGLE),
        ("auto", GPU, HALF),
        ("auto", ASCEND_910B, HALF),
        ("auto", Device("Ascend", "ascend_of_tomorrow"), HALF),
        ("True", CPU, HALF),
        ("False", GPU, SINGLE),
        ("False", ASCEND_910B, SINGLE),
        ("bfloat16", ASCEND_910B, BFLOAT),
        ("bfloat16", ASCEND_A3, BFLOAT),
        ("bfloat16", Device("Ascend", "ascend950"), BFLOAT),
        ("bfloat16", CPU, BFLOAT),  # set_up() has asked the processor
    ],
)
def test_float16_is_scaled_and_checked_and_nothing_else(convert_dtype, device, expected):
    assert choose_precision(convert_dtype, device) == expected


@pytest.mark.parametrize(
    ("convert_dtype", "dense_dtype"), [("auto", ms.float16), ("True", ms.float16), ("False", ms.float32)]
)
def test_the_910a_is_always_scaled_as_it_multiplies_in_float16_and_never_checked_as_it_saturates(
    convert_dtype, dense_dtype
):
    assert choose_precision(convert_dtype, ASCEND_910A) == Precision(dense_dtype, 1024.0, checks_overflow=False)


@pytest.mark.parametrize("device", [GPU, ASCEND_910A, Device("Ascend", "ascend310p"), Device("Ascend")])
def test_bfloat16_is_refused_where_it_does_not_exist(device):
    with pytest.raises(UserError, match=r"--convert_dtype=bfloat16: .* ascend910b, ascend910_93.*convert_dtype=auto$"):
        choose_precision("bfloat16", device)
