# SPDX-License-Identifier: Apache-2.0
"""DeepFM for MindSpore: raw Criteo rows in, click probabilities out."""

from src.console import fill_closed_streams

fill_closed_streams()  # here, as the first import of the project comes before libraries that open files
