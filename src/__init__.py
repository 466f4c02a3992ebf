# SPDX-License-Identifier: Apache-2.0
"""DeepFM for MindSpore: raw Criteo rows in, click probabilities out."""
