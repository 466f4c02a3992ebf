# SPDX-License-Identifier: Apache-2.0
"""A server with as many rows in progress as it may have: refusals, calls that are cancelled, the end of the process."""

import grpc
import numpy as np
import pytest

from tests.inference_requests import LINES, are_close, column_inputs, grpc_input, length_prefixed, tensor
from tests.serving import GrpcClient, Server, wait_until

MANY = 600  # times the lines are scored for a second or more
ROOM_FOR_MANY = (f"--max_rows_in_flight={300 * MANY}", "--max_body_mb=50")


@pytest.fixture
def busy_server(packages, tmp_path):
    """A server without room for any other row, and the call of gRPC that holds it."""
    with Server(packages[0], tmp_path / "log", *ROOM_FOR_MANY) as server:
        client = GrpcClient(server)
        message = client.message("ModelInfer", model_name="deepfm", inputs=[grpc_input("rows", LINES * MANY)])
        call = client.rpc("ModelInfer").future(message, timeout=60)
        wait_until(lambda: server.metric("rows_in_flight") == 300 * MANY)
        yield server, client, call


def test_overload_is_a_503_and_leaves_nothing_behind(busy_server):
    server, _, call = busy_server
    refused = server.infer(tensor("rows", LINES))
    assert not call.done()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert len(call.result().outputs[0].contents.fp32_contents) == 300 * MANY
    assert server.metric("rows_in_flight") == 0
    assert server.metric('rejected_requests_total{reason="overload"}') == 1
    assert server.infer(tensor("rows", LINES)).status == 200
    assert server.metric("rows_total") == 300 * (MANY + 1)


def test_more_rows_than_may_be_in_progress_are_a_413(packages, tmp_path):
    with Server(packages[0], tmp_path / "log", "--max_rows_in_flight=299") as server:
        for inputs in ([tensor("rows", LINES)], column_inputs(LINES, "INT64")):
            refused = server.infer(*inputs)
            assert refused.status == 413 and "has 300 elements, the limit of rows is 299" in refused.content["error"]
        client = GrpcClient(server)
        raw = {
            "inputs": [{"name": "rows", "datatype": "BYTES", "shape": [1]}],
            "raw_input_contents": [length_prefixed(LINES)],
        }
        for inputs in ({"inputs": [grpc_input("rows", LINES)]}, raw):
            with pytest.raises(grpc.RpcError) as error:
                client.call("ModelInfer", model_name="deepfm", **inputs)
            assert error.value.code().name == "RESOURCE_EXHAUSTED" and "300 elements" in error.value.details()


def test_grpc_refuses_overload_as_unavailable(busy_server):
    _, client, call = busy_server
    with pytest.raises(grpc.RpcError) as error:
        client.call("ModelInfer", model_name="deepfm", inputs=[grpc_input("rows", LINES)])
    assert not call.done()
    assert error.value.code().name == "UNAVAILABLE"


def test_a_call_that_its_client_cancels_is_no_error_of_the_server(busy_server):
    server, _, call = busy_server
    assert call.cancel()
    wait_until(lambda: server.metric("rows_in_flight") == 0)
    assert server.metric('requests_total{protocol="grpc",status="499"}') == 1
    assert server.metric('requests_total{protocol="grpc",status="500"}') == 0


def test_a_signal_drains_the_calls_of_grpc(busy_server, expected):
    server, _, call = busy_server
    server.stop()
    server.wait_for_line("stopping")
    assert not call.done()
    found = call.result().outputs[0].contents.fp32_contents
    assert are_close(found, np.tile(expected, MANY))
    assert server.process.wait(40) == 0
