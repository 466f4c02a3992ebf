# SPDX-License-Identifier: Apache-2.0
"""Let the stages of a job work at the same time, in threads."""

import collections
import enum
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
POLL_SECONDS = 0.1


class _End(enum.Enum):
    """The mark behind the last item; an enum, so that a type checker tells it from the items."""

    END = enum.auto()


def prefetch(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, which a thread reads one ahead; an exception of theirs is raised here.

    Worth it where both sides release the interpreter's lock most of the time, as zlib, numpy and polars do.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(maxsize=1)
    stop = threading.Event()
    failures: list[BaseException] = []

    def put(item: Item | _End) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=POLL_SECONDS)
                return
            except queue.Full:
                pass

    def read() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
        except BaseException as error:  # raised where the items are taken
            failures.append(error)
        put(_End.END)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _End.END:
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
    failures: list[Exception] = []
    with ThreadPoolExecutor(workers) as pool:
        results: collections.deque[Future[Result]] = collections.deque()
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


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """Yield the items; append the exception that ends them, if one does, to `failures`."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)
