# SPDX-License-Identifier: Apache-2.0
"""A bound on the work in progress: what exceeds it is refused at once instead of waiting in a growing queue."""

import contextlib
from collections.abc import Callable, Iterator

from src.serving.request_errors import Overloaded, RequestTooLarge


class Admission:
    """Counts units of work in progress, rows or bytes, and refuses those over the limit.  For one thread."""

    def __init__(self, unit: str, limit: int):
        self.in_flight = 0
        self._unit, self._limit = unit, limit

    @contextlib.contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that admits so many more units; all of them are held until the `with` block ends.

        It raises Overloaded if too many are in progress, RequestTooLarge if even an idle server would have no room.
        """
        held = 0

        def hold(count):
            nonlocal held
            self._check(held + count, count)
            held += count
            self.in_flight += count

        try:
            yield hold
        finally:
            self.in_flight -= held

    def _check(self, total, count):
        """Raise an error unless `count` more units may be held by a request that then has `total`."""
        if total > self._limit:
            raise RequestTooLarge(f"the request has {total:,} {self._unit}, the limit is {self._limit:,}; split it")
        if self.in_flight + count > self._limit:
            raise Overloaded(
                f"{self.in_flight:,} {self._unit} are in progress, the limit is {self._limit:,}; try later"
            )
