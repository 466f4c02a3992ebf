# SPDX-License-Identifier: Apache-2.0
"""An operator for the CPU that MindSpore lacks: a hidden layer that multiplies in bfloat16."""
