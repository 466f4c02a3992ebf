# SPDX-License-Identifier: Apache-2.0
"""Hostile requests are refused, and the server remains as it was."""

import collections
import concurrent.futures
import contextlib
import http.client
import random
import socket
import threading
import time

import grpc
import pytest

from tests.hostile import CONNECTIONS, GOOD_ROW, LABORIOUS, hostile_request, valid_request
from tests.inference_requests import tensor
from tests.serving import INFER, GrpcClient, Server

MEMORY_GROWTH_BYTES = 500e6
HEALTH_SECONDS = 5  # a server that is not blocked needs milliseconds, also on a busy machine
THREADS = 4


@pytest.fixture
def server(packages, tmp_path):
    with Server(packages[0], tmp_path / "log") as running:
        assert running.infer(**valid_request()).status == 200
        memory = running.largest_memory
        with health_checks(running):
            yield running
        assert running.infer(tensor("rows", [GOOD_ROW])).status == 200
        assert running.metric("rows_in_flight") == 0
        assert "Traceback" not in running.log and len(running.log.splitlines()) == 1
        assert running.largest_memory < memory + MEMORY_GROWTH_BYTES


@contextlib.contextmanager
def health_checks(server):
    """Ask for the health of the server again and again during a `with` block; each answer comes soon."""
    is_done = threading.Event()

    def check():
        slowest = 0.0
        while not is_done.wait(0.05):
            start = time.monotonic()
            assert server.get("/v2/health/live").status == 200
            slowest = max(slowest, time.monotonic() - start)
        return slowest

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        checking = pool.submit(check)
        try:
            yield
        finally:
            is_done.set()
        assert checking.result() < HEALTH_SECONDS


def statuses_of(server, seed, count):
    """Send hostile requests on one connection after another; return the number of each (kind, status)."""
    dice, found = random.Random(seed), collections.Counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for _ in range(count):
        path, body, headers, kind = hostile_request(dice)
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        assert len(response.read()) < 20_000
        found[kind, response.status] += 1
    connection.close()
    return found


def check_hostile_requests(server, count):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        parts = pool.map(lambda seed: statuses_of(server, seed, count // THREADS), range(THREADS))
        found = sum(parts, collections.Counter())
    assert found.total() == count // THREADS * THREADS
    assert not {key: number for key, number in found.items() if not 400 <= key[1] < 500}
    assert len({kind for kind, _ in found}) == 15


def test_two_thousand_hostile_bodies_give_only_4xx(server):
    check_hostile_requests(server, 2000)


@pytest.mark.slow
def test_fifty_thousand_hostile_bodies_give_only_4xx(server):
    check_hostile_requests(server, 50_000)


def test_bodies_that_take_long_to_read_do_not_block_others(server):
    for body in LABORIOUS:
        assert 7e6 < len(body) < 8e6
        assert server.request("POST", INFER, body).status in (400, 413)


def test_a_broken_connection_gets_a_4xx_or_nothing(server):
    for content in CONNECTIONS:
        answer = answer_to(server, content.encode())
        assert all(part[:1] == b"4" for part in answer.split(b"HTTP/1.1 ")[1:]), (content[-100:], answer)


def answer_to(server, content):
    """Send the bytes of a connection, and end; return all that comes back."""
    answer = b""
    address = ("127.0.0.1", server.port)
    # OSError: the server has closed the connection before.
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def test_hostile_messages_of_grpc_are_the_clients_mistakes(server):
    client, dice = GrpcClient(server), random.Random(1)
    valid = client.message("ModelInfer", model_name="deepfm", inputs=[{"name": "rows"}]).SerializeToString()
    infer = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    found = collections.Counter()
    for number in range(1000):
        content = dice.randbytes(dice.randrange(300)) if number % 2 else bytearray(valid * 3)
        if number % 2 == 0:
            content[dice.randrange(len(content))] = dice.randrange(256)
        with pytest.raises(grpc.RpcError) as error:
            infer(bytes(content), timeout=30)
        found[error.value.code().name] += 1
    assert found.keys() <= {"INVALID_ARGUMENT", "NOT_FOUND"}
    with pytest.raises(grpc.RpcError) as error:
        client.channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"")
    assert error.value.code().name == "UNIMPLEMENTED"
    bomb = client.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as error:  # 100 MB of zeros, compressed to less than the limit
        bomb(bytes(100_000_000), compression=grpc.Compression.Gzip, timeout=60)
    assert error.value.code().name == "RESOURCE_EXHAUSTED"
