# SPDX-License-Identifier: Apache-2.0
"""Adaptive batches: requests that arrive while a batch is scored become the next one.

A lone request waits for nothing, and batches grow with the load.  Every request keeps an answer of its own: a malformed
row fails its request, not the batch.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from src.serving.panics import without_panics

INLINE_ROWS = 16  # so few take less time to score than another thread takes to wake up on a busy machine
INLINE_BYTES = 1 << 16  # of these rows: one alone may have megabytes
Score = Callable[[Any, list[list[bytes]]], Sequence[object]]


@dataclasses.dataclass(frozen=True)
class _Waiting:
    model: object
    lines: list[bytes]
    answer: asyncio.Future


class Batcher:
    """Scores requests: a few short rows at once, more in a thread of its own.

    score: from a model and the rows of several requests to an answer for each; an exception as an answer is raised to
    its request alone.  max_batch_rows: rows after which a batch takes no further request.  on_batch: gets the number of
    rows of each batch.
    """

    def __init__(self, score: Score, max_batch_rows: int, on_batch: Callable[[int], object]):
        self._score, self._max_batch_rows, self._on_batch = score, max_batch_rows, on_batch
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "scoring")
        self._is_scoring = False

    async def submit(self, model: object, lines: list[bytes]) -> Any:
        """Return the answer to a request, at least one row."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(model, lines, loop.create_future())
        self._waiting.append(waiting)
        if not self._is_scoring:
            self._is_scoring = True
            loop.call_soon(self._start_batch)  # with all requests that have arrived at the same moment
        try:
            return await waiting.answer
        finally:
            del waiting  # an error leads to this frame: a circle, which would keep the rows until it is collected

    def _start_batch(self):
        batch, row_count = self._take_batch()
        self._is_scoring = bool(batch)
        if not batch:
            return
        self._on_batch(row_count)
        work = self._score, batch[0].model, [waiting.lines for waiting in batch]
        if row_count <= INLINE_ROWS and sum(len(line) for each in batch for line in each.lines) <= INLINE_BYTES:
            self._finish_batch(batch, _attempt(*work))
        else:
            scored = asyncio.get_running_loop().run_in_executor(self._thread, _attempt, *work)
            scored.add_done_callback(lambda scored: self._finish_batch(batch, scored.result()))

    def _take_batch(self):
        """Take the next requests, for one model, whose client has not gone; return them and their number of rows."""
        batch, row_count = [], 0
        while self._waiting and row_count < self._max_batch_rows:
            if batch and self._waiting[0].model is not batch[0].model:
                break
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                row_count += len(waiting.lines)
        return batch, row_count

    def _finish_batch(self, batch, answers):
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        asyncio.get_running_loop().call_soon(self._start_batch)


def _attempt(score, model, requests):
    """Return the answers to requests; if scoring itself fails, its exception for each."""
    try:
        return without_panics(score, model, requests)
    except Exception as error:
        return [error] * len(requests)
