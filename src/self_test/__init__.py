# SPDX-License-Identifier: Apache-2.0
"""The self-test of a device: each part of the product that depends on it, against values that a CPU has computed."""
