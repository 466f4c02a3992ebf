# SPDX-License-Identifier: Apache-2.0
"""Let the stages of a job work at the same time."""

import collections
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

POLL_SECONDS = 0.1


def in_background(iterable):
    """Yield the items of `iterable`, which is read in a thread, one item ahead; its exception is raised here.

    Worth it where both sides leave the interpreter to others most of the time, as zlib, numpy and polars do.
    """
    items, stop = queue.Queue(maxsize=1), threading.Event()

    def put(item):
        while not stop.is_set():
            try:
                items.put(item, timeout=POLL_SECONDS)
                return
            except queue.Full:
                pass

    def read():
        try:
            for item in iterable:
                put((item, None, False))
                if stop.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # raised where the items are taken
            put((None, error, True))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            item, error, is_last = items.get()
            if error is not None:
                raise error
            if is_last:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def map_ahead(function, items, workers):
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
    """Yield the items; put the exception that ends them, if one does, into `failures`."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)
