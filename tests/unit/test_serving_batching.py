# SPDX-License-Identifier: Apache-2.0
"""Batches are made of what waits, and each request gets its own answer."""

import asyncio
import threading

import pytest

from src.serving.batching import Batcher


class Recorder:
    """A scoring function that waits as long as the test wants: an answer is the sum of the lines' lengths."""

    def __init__(self):
        self.batches, self.may_continue = [], threading.Event()
        self.may_continue.set()

    def __call__(self, model, requests):
        assert self.may_continue.wait(10)
        self.batches.append((model, [len(lines) for lines in requests]))
        if [b"crash"] in requests:
            raise MemoryError
        return [ValueError("bad") if lines == [b"bad"] else sum(map(len, lines)) for lines in requests]


def run(recorder, requests, max_batch_rows=10, cancelled=()):
    """Submit (model, lines) requests while the first one is being scored; return their answers or exceptions."""

    async def submit_all():
        batcher = Batcher(recorder, max_batch_rows, sizes.append)
        recorder.may_continue.clear()
        tasks = [asyncio.create_task(batcher.submit(*request)) for request in requests]
        await asyncio.sleep(0.05)
        for index in cancelled:
            tasks[index].cancel()
        await asyncio.sleep(0)
        recorder.may_continue.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    sizes: list[int] = []
    answers = asyncio.run(submit_all())
    assert sizes == [sum(counts) for _, counts in recorder.batches]
    return answers


def test_requests_that_wait_are_scored_together():
    recorder = Recorder()
    assert run(recorder, [("m", [b"a" * length]) for length in (1, 2, 3, 4)]) == [1, 2, 3, 4]
    assert recorder.batches == [("m", [1]), ("m", [1, 1, 1])]  # the first one did not wait for others


def test_a_batch_is_full_once_it_has_its_rows():
    recorder = Recorder()
    run(recorder, [("m", [b"a"] * count) for count in (1, 4, 7, 2, 9)], max_batch_rows=10)
    assert recorder.batches == [("m", [1]), ("m", [4, 7]), ("m", [2, 9])]


def test_a_batch_has_one_model():
    recorder = Recorder()
    assert run(recorder, [(model, [b"a"]) for model in "mmnnm"]) == [1] * 5
    assert recorder.batches == [("m", [1]), ("m", [1]), ("n", [1, 1]), ("m", [1])]


def test_an_error_of_one_request_is_its_own():
    answers = run(Recorder(), [("m", [b"a"]), ("m", [b"a"]), ("m", [b"bad"]), ("m", [b"ab"])])
    assert answers[:2] == [1, 1] and answers[3] == 2
    with pytest.raises(ValueError, match="bad"):
        raise answers[2]


def test_after_a_crash_the_next_batch_is_scored():
    answers = run(Recorder(), [("m", [b"crash"]), ("m", [b"a"]), ("n", [b"ab"])])
    assert isinstance(answers[0], MemoryError) and answers[1:] == [1, 2]


def test_the_requests_of_clients_that_have_gone_are_not_scored():
    recorder = Recorder()
    answers = run(recorder, [("m", [b"a"] * count) for count in (1, 2, 3)], cancelled=[1])
    assert isinstance(answers[1], asyncio.CancelledError) and answers[::2] == [1, 3]
    assert recorder.batches == [("m", [1]), ("m", [3])]
