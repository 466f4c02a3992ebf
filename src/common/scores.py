# SPDX-License-Identifier: Apache-2.0
"""The format of scores, CSV: the output of predict.py, of the C++ runner, of eval.py, and the golden scores."""

ROW, PROBABILITY = "row", "probability"  # the columns that all of them have; a row is counted from 1
DECIMALS = 8  # of a probability
