# SPDX-License-Identifier: Apache-2.0
"""Let two stages of a job work at the same time."""

import queue
import threading

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
