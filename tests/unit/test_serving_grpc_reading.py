# SPDX-License-Identifier: Apache-2.0
"""What a client of gRPC is told of the server's own errors."""

import asyncio

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from src.serving.grpc_reading import INTERNAL_ERROR, reading


async def fail(message, context):
    raise ValueError("a secret")


async def call(method, content):
    """Return the response to a call of a method on a real server."""
    handler = grpc.unary_unary_rpc_method_handler(reading(Struct, method), response_serializer=bytes)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", {"Call": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            return await channel.unary_unary("/test.Service/Call")(content, timeout=30)
    finally:
        await server.stop(None)


def test_an_error_of_the_server_is_logged_and_not_told_to_the_client(caplog):
    with pytest.raises(grpc.RpcError) as error:
        asyncio.run(call(fail, b""))
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.INTERNAL, INTERNAL_ERROR)
    (record,) = [record for record in caplog.records if record.name == "src.serving.grpc_reading"]
    assert "a secret" in str(record.exc_info[1])


def test_bytes_that_are_no_message_are_the_clients_mistake(caplog):
    with pytest.raises(grpc.RpcError) as error:
        asyncio.run(call(fail, b"\xff"))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert not caplog.records
