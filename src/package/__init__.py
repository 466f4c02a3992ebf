# SPDX-License-Identifier: Apache-2.0
"""Score raw rows with a trained model: `from src.package import load_model`."""

from src.package.model import ClickModel, load_model
from src.package.rows import BadRowsError

__all__ = ["BadRowsError", "ClickModel", "load_model"]
