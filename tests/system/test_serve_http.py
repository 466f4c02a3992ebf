# SPDX-License-Identifier: Apache-2.0
"""The server bounds the heads and bodies of HTTP in size and time."""

import contextlib
import json
import socket

import pytest

from tests.inference_requests import LINES, tensor
from tests.serving import INFER, Server, wait_until


def test_an_oversized_body_is_refused_before_it_is_sent(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
        while connection.recv(1000):
            pass  # the server closes the connection


def test_a_client_that_sends_all_of_a_refused_body_gets_the_answer(server):
    content = bytes(20_000_000)
    assert server.request("POST", INFER, content).status == 413
    assert server.request("POST", INFER, iter([content])).status == 413  # chunked
    assert server.request("POST", "/nothing", content).status == 404
    assert server.request("POST", INFER, content, {"Content-Encoding": "gzip"}).status == 415


def test_an_oversized_body_of_unknown_length_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
        for _ in range(7):
            connection.sendall(chunk)
        with pytest.raises(OSError):  # after the eighth MB the server answers and closes the connection
            for _ in range(1000):
                connection.sendall(chunk)
    assert server.metric('requests_total{protocol="http",status="413"}') >= 1


def test_a_compressed_body_is_refused(server):
    response = server.request("POST", INFER, b"x", {"Content-Encoding": "gzip"})
    assert response.status == 415 and "content-encoding" in response.content["error"]


ENDLESS = {
    "a path": "GET /",
    "a header": f"POST {INFER} HTTP/1.1\r\nx: ",
    "trailers": f"POST {INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_head_that_does_not_end_is_refused(server, name):
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(ENDLESS[name].encode())
        with pytest.raises(OSError):
            while sent < 100e6:
                sent += connection.send(b"a" * 10_000)
    assert sent < 20e6  # most of it in the buffers of the connection


def test_a_large_head_that_ends_is_read(server):
    body = json.dumps({"inputs": [tensor("rows", LINES[:1])]})
    assert server.request("POST", INFER, body, {"x": "a" * 50_000}).status == 200


@pytest.mark.slow
def test_a_head_that_does_not_arrive_is_given_up(server):
    starts = (b"", b"\r", b"GET / HTTP/1.1\r\nx", b"GET /v2 HTTP/1.1\r\n\r\nGET /v2 HTTP/1.1\r\nx")
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20)) for _ in starts
        ]
        for connection, start in zip(connections, starts):
            connection.sendall(start)
        answers = [b"".join(iter(lambda each=each: each.recv(1000), b"")) for each in connections]
    assert [answer.count(b"HTTP/1.1 200 ") for answer in answers] == [0, 0, 0, 1]


@pytest.mark.slow
def test_a_body_that_does_not_arrive_is_given_up(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_goes_away_is_no_error_of_the_server(server):
    before = server.metric('requests_total{protocol="http",status="400"}')
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
    wait_until(lambda: server.metric('requests_total{protocol="http",status="400"}') == before + 1)
    assert server.metric('requests_total{protocol="http",status="500"}') == 0


def test_bodies_in_progress_are_bounded_by_what_has_arrived(packages, tmp_path):
    with Server(packages[0], tmp_path / "log", "--max_body_mb=1") as server:
        waiting = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(16)]
        for connection, header in zip(waiting, ["Transfer-Encoding: chunked", "Content-Length: 1000000"] * 8):
            connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert [server.infer(tensor("rows", LINES[:1])).status for _ in range(10)] == [200] * 10
        for connection in waiting[1::2]:
            connection.sendall(bytes(999_999))
        # A body before the last of these bytes would be admitted, and one of these refused.
        wait_until(lambda: server.metric("body_bytes_in_flight") == 8 * 999_999)
        refused = server.infer(tensor("rows", LINES[:1]))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        for connection in waiting:
            connection.close()
        wait_until(lambda: server.infer(tensor("rows", LINES[:1])).status == 200)
