# SPDX-License-Identifier: Apache-2.0
"""Click logs of several forms with known click probabilities: python -m src.synthetic_logs --kind=avazu"""
