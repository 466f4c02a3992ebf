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

Score = Callable[[Any, list[list[bytes]]], Sequence[object]]


@dataclasses.dataclass(frozen=True)
class _Waiting:
    model: object
    lines: list[bytes]
    answer: asyncio.Future


class Batcher:
    """Scores requests in a thread of its own.

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
        waiting = _Waiting(model, lines, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._is_scoring:
            self._start_batch()
        return await waiting.answer

    def _start_batch(self):
        batch = self._take_batch()
        self._is_scoring = bool(batch)
        if batch:
            requests = [waiting.lines for waiting in batch]
            self._on_batch(sum(map(len, requests)))
            scored = asyncio.get_running_loop().run_in_executor(self._thread, self._score, batch[0].model, requests)
            scored.add_done_callback(lambda scored: self._finish_batch(batch, scored))

    def _take_batch(self):
        """Take the next requests, for one model, whose client has not gone."""
        batch, row_count = [], 0
        while self._waiting and row_count < self._max_batch_rows:
            if batch and self._waiting[0].model is not batch[0].model:
                break
            waiting = self._waiting.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                row_count += len(waiting.lines)
        return batch

    def _finish_batch(self, batch, scored):
        answers = [scored.exception()] * len(batch) if scored.exception() else scored.result()
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)
        self._start_batch()
