# SPDX-License-Identifier: Apache-2.0
"""A connection of HTTP whose heads are bounded, in bytes and in time: uvicorn bounds neither."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD_BYTES = 1 << 16
SECONDS_PER_HEAD = 10  # in which a head must have arrived


class BoundedHeads(HttpToolsProtocol):
    """Closes the connection of a head that is too large or too slow; also that of trailers which are too large."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._is_in_head = True
        self._head_timer = None
        self._bytes_without_progress = 0  # since a head was complete or a part of a body arrived
        self._has_progress = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._start_timer()
        self._has_progress = False
        super().data_received(data)
        self._bytes_without_progress = 0 if self._has_progress else self._bytes_without_progress + len(data)
        if self._bytes_without_progress > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"The head of a request has at most {LARGEST_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_in_head, self._has_progress = False, True
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head, self._has_progress = True, True
        super().on_message_complete()

    def _start_timer(self):
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(SECONDS_PER_HEAD, self.transport.close)

    def _stop_timer(self):
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
