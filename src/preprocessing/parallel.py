# SPDX-License-Identifier: Apache-2.0
"""Let the stages of a job work at the same time, in threads."""

import collections
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")
POLL_SECONDS = 0.1
END = object()


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, which a thread reads one ahead; an exception of theirs is raised here.

    Worth it where both sides release the interpreter's lock most of the time, as zlib, numpy and polars do.
    """
    waiting, stop = queue.Queue(maxsize=1), threading.Event()
    failures = []

    def put(item):
        while not stop.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
                return
            except queue.Full:
                pass

    def read():
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # raised where the items are taken
            failures.append(error)
        put(END)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not END:
            yield item
        if failures:
            raise failures[0]
    finally:
        stop.set()
        thread.join()


def parallel_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Yield function(item) of each item, in their order, computed ahead in `workers` threads.

    An exception of `items` itself is raised after the results of the items before it.
    """
    failures = []
    with ThreadPoolExecutor(workers) as pool:
        results = collections.deque()
        try:
            for item in _until_failure(items, failures):
                results.append(pool.submit(function, item))
                if len(results) > workers:
                    yield results.popleft().result()
            while results:
                yield results.popleft().result()
        finally:
            for result in results:
                result.cancel()
    if failures:
        raise failures[0]


def _until_failure(items, failures):
    """Yield the items; append the exception that ends them, if one does, to `failures`."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)
