# SPDX-License-Identifier: Apache-2.0
"""Score the rows of several requests together."""

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from src.package import BadRowsError, ClickModel
from src.serving.infer_request import BYTES, FP64, Tensor
from src.serving.request_errors import MalformedRows

Answer = np.ndarray | MalformedRows


def score_requests(model: ClickModel, requests: list[list[bytes]]) -> Sequence[Answer]:
    """Return for each request, lines, its probabilities float32 [n], or the error that names its malformed rows.

    The answer to a request does not depend on the requests that it is scored with.
    """
    if len(requests) == 1:
        return [_answer_alone(model, requests[0])]
    try:
        probabilities = model.predict(list(itertools.chain.from_iterable(requests)))
    except BadRowsError:
        return [_answer_alone(model, lines) for lines in requests]
    return np.split(probabilities, np.cumsum([len(lines) for lines in requests])[:-1])


def _answer_alone(model, lines):
    try:
        return model.predict(lines)
    except BadRowsError as error:
        return MalformedRows(error.faults, error.count, len(lines))


def explain_rows(model: ClickModel, lines: list[bytes]) -> list[Tensor]:
    """Return the parts of the logits of rows that have been scored, as outputs; see Explanation.to_frame."""
    frame = model.explain(lines).to_frame()
    return [
        Tensor(column.name, BYTES, [text.encode() for text in column])
        if column.dtype == pl.String
        else Tensor(column.name, FP64, column.to_numpy())
        for column in frame
    ]
