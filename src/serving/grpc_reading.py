# SPDX-License-Identifier: Apache-2.0
"""What a client of gRPC is told of a message that is none, and of the server's own errors."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

INTERNAL_ERROR = "internal error; the log of the server has the details"
LOGGER = logging.getLogger(__name__)


def reading(message_class: Any, method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[bytes, Any], Awaitable[Any]]:
    """Return a method that takes bytes in place of a message; bytes that are none are the client's mistake.

    The client is told of an error of the method, but not which.
    """

    async def read_and_call(content, context):
        try:
            message = message_class.FromString(content)
        except (DecodeError, ValueError):  # a ValueError if protobuf runs in plain Python
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"this is no {message_class.DESCRIPTOR.name}")
        try:
            return await method(message, context)
        except grpc.aio.AbortError:
            raise
        except Exception:
            LOGGER.exception("a call of gRPC failed")
            return await context.abort(grpc.StatusCode.INTERNAL, INTERNAL_ERROR)

    return read_and_call
