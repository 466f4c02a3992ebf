# SPDX-License-Identifier: Apache-2.0
"""Batches are made of what waits, and each request gets its own answer."""

import asyncio
import threading

import pytest
from polars.exceptions import PanicException

from src.serving.batching import INLINE_BYTES, INLINE_ROWS, Batcher

ROWS = INLINE_ROWS + 1  # of a request that is scored in the thread


class Scorer:
    """A scoring function that waits until it may continue: an answer is the sum of the lines' lengths."""

    def __init__(self):
        self.batches, self.threads, self.may_continue = [], set(), threading.Event()

    def __call__(self, model, requests):
        self.threads.add(threading.current_thread())
        assert self.may_continue.wait(10)
        self.batches.append((model, [len(lines) for lines in requests]))
        if any(b"crash" in lines for lines in requests):
            raise MemoryError
        if any(b"panic" in lines for lines in requests):
            raise PanicException("index out of bounds")
        return [ValueError("bad") if b"bad" in lines else sum(map(len, lines)) for lines in requests]


def run(scorer, requests, max_batch_rows=10_000, cancelled=()):
    """Submit (model, lines) requests, all but the first while that one is scored; return answers and exceptions."""

    async def submit_all():
        batcher = Batcher(scorer, max_batch_rows, sizes.append)
        tasks = []
        for request in requests:
            tasks.append(asyncio.create_task(batcher.submit(*request)))
            await asyncio.sleep(0.01)
        for index in cancelled:
            tasks[index].cancel()
        await asyncio.sleep(0)
        scorer.may_continue.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    sizes: list[int] = []
    answers = asyncio.run(submit_all())
    assert sizes == [sum(counts) for _, counts in scorer.batches]
    return answers


def test_requests_that_wait_are_scored_together():
    scorer = Scorer()
    assert run(scorer, [("m", [b"a" * length] * ROWS) for length in (1, 2, 3, 4)]) == [
        ROWS,
        2 * ROWS,
        3 * ROWS,
        4 * ROWS,
    ]
    assert scorer.batches == [("m", [ROWS]), ("m", [ROWS] * 3)]  # the first one did not wait for others
    assert threading.main_thread() not in scorer.threads


def test_few_rows_that_arrive_at_the_same_moment_are_scored_at_once():
    scorer = Scorer()
    scorer.may_continue.set()

    async def submit_all():
        batcher = Batcher(scorer, 10_000, lambda row_count: None)
        return await asyncio.gather(*(batcher.submit("m", [b"a"] * count) for count in (1, 2, 3)))

    assert asyncio.run(submit_all()) == [1, 2, 3]
    assert scorer.batches == [("m", [1, 2, 3])]
    assert scorer.threads == {threading.main_thread()}


def test_a_batch_is_full_once_it_has_its_rows():
    scorer = Scorer()
    run(scorer, [("m", [b"a"] * count) for count in (20, 40, 70, 20, 90)], max_batch_rows=100)
    assert scorer.batches == [("m", [20]), ("m", [40, 70]), ("m", [20, 90])]


def test_a_batch_has_one_model():
    scorer = Scorer()
    assert run(scorer, [(model, [b"a"] * ROWS) for model in "mmnnm"]) == [ROWS] * 5
    assert scorer.batches == [("m", [ROWS]), ("m", [ROWS]), ("n", [ROWS, ROWS]), ("m", [ROWS])]


def test_an_error_of_one_request_is_its_own():
    lines = [b"a"] * ROWS
    answers = run(Scorer(), [("m", lines), ("m", lines), ("m", [*lines, b"bad"]), ("m", [*lines, b"ab"])])
    assert answers[:2] == [ROWS, ROWS] and answers[3] == ROWS + 2
    with pytest.raises(ValueError, match="bad"):
        raise answers[2]


def test_after_a_crash_the_next_batch_is_scored():
    answers = run(Scorer(), [("m", [b"crash"] * ROWS), ("m", [b"a"]), ("n", [b"ab"])])
    assert isinstance(answers[0], MemoryError) and answers[1:] == [1, 2]


def test_a_panic_of_polars_is_an_error_of_its_batch_alone():
    assert not issubclass(PanicException, Exception)
    answers = run(Scorer(), [("m", [b"panic"] * ROWS), ("m", [b"a"]), ("n", [b"panic"]), ("m", [b"ab"])])
    assert [repr(answer) for answer in answers[::2]] == ["RuntimeError(\"PanicException('index out of bounds')\")"] * 2
    assert answers[1::2] == [1, 2]


def test_a_long_row_is_scored_in_the_thread():
    scorer = Scorer()
    run(scorer, [("m", [b"a" * (INLINE_BYTES + 1)]), ("n", [b"a" * INLINE_BYTES])])
    assert len(scorer.threads) == 2


def test_the_requests_of_clients_that_have_gone_are_not_scored():
    scorer = Scorer()
    answers = run(scorer, [("m", [b"a"] * count) for count in (20, 30, 40)], cancelled=[1])
    assert isinstance(answers[1], asyncio.CancelledError) and answers[::2] == [20, 40]
    assert scorer.batches == [("m", [20]), ("m", [40])]
