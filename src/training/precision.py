# SPDX-License-Identifier: Apache-2.0
"""The precision of a training step: the type in which matrices are multiplied, and what keeps its gradients sound."""

from dataclasses import dataclass

import mindspore as ms

from src.common.errors import UserError
from src.distributed.device import BFLOAT16_SOCS, Device

LOSS_SCALE = 1024.0  # that of the model zoo; a mean log loss has gradients far below 65504 / 1024
DENSE_DTYPES = {"True": ms.float16, "False": ms.float32, "bfloat16": ms.bfloat16}  # by --convert_dtype


@dataclass(frozen=True)
class Precision:
    """What a training step computes in.

    dense_dtype: that of the factors in dense layers; everything else is float32.
    loss_scale: the factor of the loss that keeps small gradients above 0 in float16; 1 without float16.
    checks_overflow: whether a step with gradients that are not finite counts as one without gradients.
    """

    dense_dtype: ms.Type = ms.float32
    loss_scale: float = 1.0
    checks_overflow: bool = False


FLOAT32 = Precision()


def choose_precision(convert_dtype: str, device: Device) -> Precision:
    """Return the Precision that --convert_dtype asks for on a device; UserError if the device does not have it.

    "auto" is float16 where it pays.  The loss is scaled wherever matrices are really multiplied in float16: on the
    Ascend 910A they always are.  bfloat16 has the exponents of float32: nothing in it needs a scale or a check.

    Where arithmetic saturates, as on the 910A, gradients that overflow are large but finite, and nothing is checked.
    MindSpore reads a status register there (NPUGetFloatStatusV2) without waiting for the device, but the register is
    that of one device and of all its operators since it was cleared: several ranks would need one more collective
    operation per step to agree, and only the order of the operators separates one step from the next.  The model zoo
    trained with the same scale and no check; saturated gradients are bounded, and Adam divides by their size.
    """
    name = ("False" if device.target == "CPU" else "True") if convert_dtype == "auto" else convert_dtype
    dense_dtype = DENSE_DTYPES[name]
    if dense_dtype == ms.bfloat16 and not device.has_bfloat16:
        raise UserError(
            f"--convert_dtype=bfloat16: {device} does not multiply in bfloat16, only {', '.join(BFLOAT16_SOCS)} and "
            "CPUs do; use --convert_dtype=auto"
        )
    if dense_dtype == ms.float16 or (dense_dtype == ms.float32 and device.multiplies_in_half):
        return Precision(dense_dtype, LOSS_SCALE, checks_overflow=not device.saturates)
    return Precision(dense_dtype)
