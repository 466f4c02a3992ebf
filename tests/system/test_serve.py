# SPDX-License-Identifier: Apache-2.0
"""The server, started as a user starts it, on a real package, by real clients."""

import concurrent.futures
import contextlib
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

import grpc
import numpy as np
import polars as pl
import pytest

from src.package import load_model
from tests.conftest import ROOT, make_rows
from tests.processes import assert_refused
from tests.serving import INFER, GrpcClient, Server, serving_python, tensor, wait_until

INTEGERS, CATEGORIES = ["I1", "I2", "I3"], ["C1", "C2", "C3", "C4"]
COLUMNS = [*INTEGERS, *CATEGORIES]
MISSING_INTEGER = -(2**63)


@pytest.fixture(scope="module")
def lines():
    """300 raw rows without a label."""
    return [line.partition("\t")[2] for line in make_rows(300, 3, 4, seed=9).split("\n")]


@pytest.fixture(scope="module")
def expected(packages, lines):
    return load_model(packages[0]).predict(lines)


@pytest.fixture(scope="module")
def server(packages, tmp_path_factory):
    with Server(packages[0], tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def client(server, tmp_path_factory):
    return GrpcClient(server, tmp_path_factory.mktemp("grpc"))


def are_close(found, expected):
    """Tell whether probabilities agree: the rounding of a product of matrices depends on its number of rows."""
    return len(found) == len(expected) and np.abs(np.array(found) - expected).max() <= 1e-6


def column_inputs(lines, integers_as):
    """Return a tensor for each column."""
    columns = dict(zip(COLUMNS, zip(*(line.split("\t") for line in lines))))
    if integers_as == "INT64":
        columns |= {name: [int(cell) if cell else MISSING_INTEGER for cell in columns[name]] for name in INTEGERS}
    return [tensor(name, list(cells), integers_as if name in INTEGERS else "BYTES") for name, cells in columns.items()]


def forms_of(lines):
    """Return the inputs of a request for lines in each form that the server takes."""
    return {
        "lines": [tensor("rows", lines)],
        "lines as a column": [tensor("rows", [[line] for line in lines], shape=[len(lines), 1])],
        "lines with a label": [tensor("rows", [f"1\t{line}" for line in lines])],
        "lines with newlines": [tensor("rows", [f"{line}\n" for line in lines])],
        "columns": column_inputs(lines, "INT64"),
        "columns of text": column_inputs(lines, "BYTES"),
        "columns in another order": column_inputs(lines, "INT64")[::-1],
    }


@pytest.mark.parametrize("form", forms_of(["1\t2\t3\ta\tb\tc\td"]))
def test_every_form_of_rows_has_the_probabilities_of_the_python_api(server, lines, expected, form):
    found = server.infer(*forms_of(lines)[form]).probabilities
    assert are_close(found, expected)


@pytest.mark.parametrize("count", [1, 7, 600])
def test_few_and_many_rows_are_scored_alike(server, lines, expected, count):
    found = server.infer(tensor("rows", (lines * 2)[:count])).probabilities
    assert are_close(found, np.tile(expected, 2)[:count])


def test_an_explanation_has_the_parts_of_each_logit(server, client, packages, lines):
    frame = load_model(packages[0]).explain(lines).to_frame()
    response = server.infer(tensor("rows", lines), parameters={"explain": True})
    outputs = {output["name"]: output["data"] for output in response.content["outputs"]}
    assert list(outputs) == ["probability", *frame.columns]
    for name in frame.columns:
        assert outputs[name] == frame[name].to_list()
    assert are_close(1 / (1 + np.exp(-np.array(outputs["logit"]))), outputs["probability"])
    fields = {
        "model_name": "deepfm",
        "inputs": [grpc_input("rows", lines)],
        "parameters": {"explain": {"bool_param": True}},
    }
    called = client.call("ModelInfer", **fields)
    assert [(each.name, each.datatype) for each in called.outputs] == [
        (each["name"], each["datatype"]) for each in response.content["outputs"]
    ]
    assert list(called.outputs[1].contents.fp64_contents) == outputs["bias"]
    refused = server.infer(tensor("rows", lines * 4), parameters={"explain": True})
    assert refused.status == 413 and "1,200 rows are to be explained" in refused.content["error"]


def test_a_response_names_the_model_its_version_and_the_request(server, lines):
    content = server.infer(tensor("rows", lines[:1]), id="42", outputs=[{"name": "probability"}]).content
    assert (content["model_name"], content["model_version"], content["id"]) == ("deepfm", server.version, "42")
    path = f"/v2/models/deepfm/versions/{server.version}/infer"
    assert server.request("POST", path, json.dumps({"inputs": [tensor("rows", lines[:1])]})).status == 200


def test_health_and_metadata(server):
    assert server.get("/v2/health/live").content == {"live": True}
    assert server.get("/v2/health/ready").content == {"ready": True}
    assert server.get("/v2/models/deepfm/ready").content == {"name": "deepfm", "ready": True}
    assert server.get("/v2").content["name"] == "deepfm"
    metadata = server.get("/v2/models/deepfm").content
    assert (metadata["name"], metadata["versions"]) == ("deepfm", [server.version])
    assert [each["name"] for each in metadata["inputs"]] == ["rows", *COLUMNS]
    assert {each["datatype"] for each in metadata["inputs"] if each["name"] in INTEGERS} == {"INT64"}
    assert metadata["outputs"] == [{"name": "probability", "datatype": "FP32", "shape": [-1, 1]}]


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/deepfm/versions/0/ready", "/nothing"])
def test_what_is_not_served_is_a_404(server, path):
    response = server.get(path)
    assert response.status == 404 and response.content["error"]


def test_malformed_rows_are_named_one_by_one(server, lines):
    bad = [lines[0], "x", lines[1].replace("\t", "q\t", 1), *lines[2:4]]
    response = server.infer(tensor("rows", bad))
    assert response.status == 400
    assert response.content["error"].startswith("2 of 5 rows are malformed: ")
    rows = response.content["malformed_rows"]
    assert [each["row"] for each in rows] == [2, 3]
    assert "has 1 column" in rows[0]["reason"] and "I1 is" in rows[1]["reason"]
    many = server.infer(tensor("rows", ["x"] * 50)).content
    assert many["error"].startswith("50 of 50") and [each["row"] for each in many["malformed_rows"]] == [*range(1, 21)]


REFUSED = {
    "no JSON": (b"{", "not JSON"),
    "not UTF-8": (b'{"inputs": "\xff"}', "not JSON"),
    "NaN": (b'{"inputs": [NaN]}', "not JSON"),
    "a list": (b"[]", "must be an object"),
    "no inputs": (b"{}", "no inputs"),
    "inputs": (b'{"inputs": 1}', "must be a list"),
    "an unknown input": ({"inputs": [tensor("C99", ["a"])]}, "C99"),
    "a missing input": ({"inputs": column_inputs(["1\t2\t3\ta\tb\tc\td"], "INT64")[1:]}, "I1 is missing"),
    "an input twice": ({"inputs": [tensor("rows", ["a"])] * 2}, "inputs must be"),
    "no rows": ({"inputs": [tensor("rows", [], shape=[0])]}, "at least one row"),
    "a shape": ({"inputs": [tensor("rows", ["a"], shape=[2])]}, "its shape must be [1]"),
    "a negative shape": ({"inputs": [tensor("rows", ["a"], shape=[-1])]}, "its shape must be [1]"),
    "a huge shape": ({"inputs": [tensor("rows", ["a"], shape=[10**18, 10**18])]}, "its shape must be [1]"),
    "a datatype": ({"inputs": [tensor("rows", [1.5], "FP32")]}, "datatype must be BYTES or INT64"),
    "rows of integers": ({"inputs": [tensor("rows", [1], "INT64")]}, "datatype must be BYTES"),
    "an output": ({"inputs": [tensor("rows", ["a"])], "outputs": [{"name": "x"}]}, "outputs"),
    "a large integer": ({"inputs": [tensor("I1", [2**63], "INT64")]}, "64 bits"),
    "a true integer": ({"inputs": [tensor("I1", [True], "INT64")]}, "64 bits"),
    "a nested text": ({"inputs": [tensor("rows", [["a", "b"]])]}, "texts"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_request_is_refused_with_the_rule(server, name):
    body, part = REFUSED[name]
    response = server.request("POST", INFER, body if isinstance(body, bytes) else json.dumps(body))
    assert response.status == 400
    assert part in response.content["error"] and "\n" not in response.content["error"]


def test_columns_that_would_shift_a_row_are_refused(server):
    inputs = column_inputs(["1\t2\t3\ta\tb\tc\td"] * 2, "BYTES")
    inputs[0]["data"] = ["1", "0\t1"]
    response = server.infer(*inputs)
    assert response.status == 400
    assert response.content["malformed_rows"] == [{"row": 2, "reason": "row 2: I1 holds a tab or a newline"}]


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


def test_a_large_head_that_ends_is_read(server, lines):
    body = json.dumps({"inputs": [tensor("rows", lines[:1])]})
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


def test_bodies_in_progress_are_bounded_by_what_has_arrived(packages, tmp_path, lines):
    with Server(packages[0], tmp_path / "log", "--max_body_mb=1") as server:
        waiting = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(16)]
        for connection, header in zip(waiting, ["Transfer-Encoding: chunked", "Content-Length: 1000000"] * 8):
            connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
        assert [server.infer(tensor("rows", lines[:1])).status for _ in range(10)] == [200] * 10
        for connection in waiting[1::2]:
            connection.sendall(bytes(999_999))
        wait_until(lambda: server.infer(tensor("rows", lines[:1])).status == 503)
        assert server.infer(tensor("rows", lines[:1])).headers["retry-after"] == "1"
        for connection in waiting:
            connection.close()
        wait_until(lambda: server.infer(tensor("rows", lines[:1])).status == 200)


MANY = 600  # times the lines are scored for a second or more
ROOM_FOR_MANY = (f"--max_rows_in_flight={300 * MANY}", "--max_body_mb=50")


@pytest.fixture
def busy_server(packages, tmp_path, lines):
    """A server without room for any other row, and the call of gRPC that holds it."""
    with Server(packages[0], tmp_path / "log", *ROOM_FOR_MANY) as server:
        client = GrpcClient(server, tmp_path)
        message = client.message("ModelInfer", model_name="deepfm", inputs=[grpc_input("rows", lines * MANY)])
        call = client.rpc("ModelInfer").future(message, timeout=60)
        wait_until(lambda: server.metric("rows_in_flight") == 300 * MANY)
        yield server, client, call


def test_overload_is_a_503_and_leaves_nothing_behind(busy_server, lines):
    server, _, call = busy_server
    refused = server.infer(tensor("rows", lines))
    assert not call.done()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert len(call.result().outputs[0].contents.fp32_contents) == 300 * MANY
    assert server.metric("rows_in_flight") == 0
    assert server.metric('rejected_requests_total{reason="overload"}') == 1
    assert server.infer(tensor("rows", lines)).status == 200
    assert server.metric("rows_total") == 300 * (MANY + 1)


def test_more_rows_than_may_be_in_progress_are_a_413(packages, tmp_path, lines):
    with Server(packages[0], tmp_path / "log", "--max_rows_in_flight=299") as server:
        for inputs in ([tensor("rows", lines)], column_inputs(lines, "INT64")):
            refused = server.infer(*inputs)
            assert refused.status == 413 and "has 300 elements, the limit of rows is 299" in refused.content["error"]
        client = GrpcClient(server, tmp_path)
        raw = b"".join(struct.pack("<I", len(line.encode())) + line.encode() for line in lines)
        for inputs in ({"inputs": [grpc_input("rows", lines)]}, {"inputs": [ROWS], "raw_input_contents": [raw]}):
            with pytest.raises(grpc.RpcError) as error:
                client.call("ModelInfer", model_name="deepfm", **inputs)
            assert error.value.code().name == "RESOURCE_EXHAUSTED" and "300 elements" in error.value.details()


def test_a_malformed_row_does_not_harm_the_requests_that_are_scored_with_it(server, lines, expected):
    """Requests of many clients share batches; each keeps its own answer."""

    def ask(number):
        if number % 4 == 0:
            return server.infer(tensor("rows", [lines[number], "bad"])).status == 400
        found = server.infer(tensor("rows", lines[number : number + 3])).probabilities
        return are_close(found, expected[number : number + 3])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(290)))


def test_metrics_count_what_has_been_served(server, lines):
    names = [
        "rows_total",
        "malformed_rows_total",
        'requests_total{protocol="http",status="200"}',
        'request_seconds_count{protocol="http"}',
    ]
    before = [server.metric(name) for name in names]
    server.infer(tensor("rows", lines[:5]))
    server.infer(tensor("rows", [lines[0], "x", "y"]))
    assert [server.metric(name) - was for name, was in zip(names, before)] == [5, 2, 1, 2]
    assert server.metric(f'model_info{{version="{server.version}"}}') == 1
    assert server.metric("batch_rows_count") > 0


def test_grpc_health_and_metadata(client, server):
    assert client.call("ServerLive").live and client.call("ServerReady").ready
    assert client.call("ModelReady", name="deepfm").ready
    assert client.call("ServerMetadata").name == "deepfm"
    metadata = client.call("ModelMetadata", name="deepfm")
    rest = server.get("/v2/models/deepfm").content
    assert [metadata.name, list(metadata.versions)] == [rest["name"], rest["versions"]]
    found = [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in metadata.inputs]
    assert found == rest["inputs"]


def grpc_input(name, cells, datatype="BYTES"):
    contents = (
        {"bytes_contents": [cell.encode() for cell in cells]} if datatype == "BYTES" else {"int64_contents": cells}
    )
    return {"name": name, "datatype": datatype, "shape": [len(cells), 1], "contents": contents}


def test_grpc_has_the_probabilities_of_the_python_api(client, server, lines, expected):
    response = client.call("ModelInfer", model_name="deepfm", id="7", inputs=[grpc_input("rows", lines)])
    assert (response.model_name, response.model_version, response.id) == ("deepfm", server.version, "7")
    assert are_close(response.outputs[0].contents.fp32_contents, expected)
    columns = [grpc_input(each["name"], each["data"], each["datatype"]) for each in column_inputs(lines, "INT64")]
    response = client.call("ModelInfer", model_name="deepfm", inputs=columns)
    assert are_close(response.outputs[0].contents.fp32_contents, expected)


def raw_bytes(column):
    """Return a column of an explanation as the raw contents of a tensor."""
    if column.dtype == pl.String:
        return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in column)
    return column.to_numpy().astype("<f8").tobytes()


def test_grpc_raw_contents_are_answered_by_raw_contents(client, packages, lines, expected):
    raw = b"".join(struct.pack("<I", len(line.encode())) + line.encode() for line in lines)
    inputs = [{"name": "rows", "datatype": "BYTES", "shape": [len(lines)]}]
    parameters = {"explain": {"bool_param": True}}
    response = client.call(
        "ModelInfer", model_name="deepfm", inputs=inputs, raw_input_contents=[raw], parameters=parameters
    )
    frame = load_model(packages[0]).explain(lines).to_frame()
    assert [each.name for each in response.outputs] == ["probability", *frame.columns]
    for output, content in list(zip(response.outputs, response.raw_output_contents))[1:]:
        assert content == raw_bytes(frame[output.name])
    assert are_close(np.frombuffer(response.raw_output_contents[0], "<f4"), expected)
    inputs, contents = [], []
    for each in column_inputs(lines, "INT64"):
        inputs.append({"name": each["name"], "datatype": each["datatype"], "shape": each["shape"]})
        if each["datatype"] == "INT64":
            contents.append(np.array(each["data"], "<i8").tobytes())
        else:
            contents.append(b"".join(struct.pack("<I", len(cell.encode())) + cell.encode() for cell in each["data"]))
    response = client.call("ModelInfer", model_name="deepfm", inputs=inputs, raw_input_contents=contents)
    assert are_close(np.frombuffer(response.raw_output_contents[0], "<f4"), expected)


ROWS = {"name": "rows", "datatype": "BYTES", "shape": [1]}
GRPC_REFUSED = {
    "a model": ({"model_name": "x", "inputs": [grpc_input("rows", ["a"])]}, "NOT_FOUND", "deepfm"),
    "no inputs": ({}, "INVALID_ARGUMENT", "inputs must be"),
    "a malformed row": ({"inputs": [grpc_input("rows", ["a"])]}, "INVALID_ARGUMENT", "1 of 1 rows is malformed"),
    "a datatype": ({"inputs": [ROWS | {"datatype": "FP32"}]}, "INVALID_ARGUMENT", "datatype"),
    "no contents": ({"inputs": [ROWS]}, "INVALID_ARGUMENT", "shape"),
    "too many raw": ({"inputs": [ROWS], "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "raw_input_contents"),
    "cut raw": ({"inputs": [ROWS], "raw_input_contents": [b"\xff\xff\xff\xffx"]}, "INVALID_ARGUMENT", "within"),
    "long faults": ({"inputs": [grpc_input("rows", ["中" * 500] * 30)]}, "INVALID_ARGUMENT", "30 of 30 rows"),
    "explain": ({"parameters": {"explain": {"string_param": "true"}}}, "INVALID_ARGUMENT", "true or false"),
    "a large message": ({"inputs": [grpc_input("rows", ["x" * 9_000_000])]}, "RESOURCE_EXHAUSTED", "larger than max"),
}


@pytest.mark.parametrize("name", GRPC_REFUSED)
def test_grpc_refuses_an_invalid_request_with_the_rule(client, name):
    fields, status, part = GRPC_REFUSED[name]
    with pytest.raises(grpc.RpcError) as error:
        client.call("ModelInfer", **{"model_name": "deepfm", **fields})
    assert error.value.code().name == status
    assert part in error.value.details()


def test_grpc_refuses_overload_as_unavailable(busy_server, lines):
    _, client, call = busy_server
    with pytest.raises(grpc.RpcError) as error:
        client.call("ModelInfer", model_name="deepfm", inputs=[grpc_input("rows", lines)])
    assert not call.done()
    assert error.value.code().name == "UNAVAILABLE"


def test_a_call_that_its_client_cancels_is_no_error_of_the_server(busy_server):
    server, _, call = busy_server
    assert call.cancel()
    wait_until(lambda: server.metric("rows_in_flight") == 0)
    assert server.metric('requests_total{protocol="grpc",status="499"}') == 1
    assert server.metric('requests_total{protocol="grpc",status="500"}') == 0


def test_a_signal_drains_the_requests_in_progress(packages, tmp_path, lines, expected):
    body = json.dumps({"inputs": [tensor("rows", lines)]}).encode()
    with Server(packages[0], tmp_path / "log") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body[:100])
            time.sleep(0.5)
            server.stop()
            server.wait_for_line("stopping")
            wait_until_refused(server.port)
            connection.sendall(body[100:])
            response = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        head, _, content = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert are_close(json.loads(content)["outputs"][0]["data"], expected)
        assert server.process.wait(10) == 0


def wait_until_refused(port):
    """Wait until a port accepts no connections."""
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        time.sleep(0.02)
    raise AssertionError("new connections are still accepted")


def test_a_signal_drains_the_calls_of_grpc(busy_server, expected):
    server, _, call = busy_server
    server.stop()
    server.wait_for_line("stopping")
    assert not call.done()
    found = call.result().outputs[0].contents.fp32_contents
    assert are_close(found, np.tile(expected, MANY))
    assert server.process.wait(40) == 0


def put_in_place(package, link):
    """Let a symbolic link lead to another package, in one step."""
    partial = link.with_name("next")
    partial.symlink_to(package)
    partial.rename(link)


def test_a_new_package_replaces_the_old_one_without_a_dropped_request(packages, tmp_path, lines):
    link = tmp_path / "model"
    put_in_place(packages[0], link)
    expected = [load_model(package).predict(lines[:20]) for package in packages]
    assert not are_close(*expected)
    with Server(link, tmp_path / "log") as server:
        versions = [server.version, None]
        is_done = False

        def ask():
            answers = []
            while not is_done:
                response = server.infer(tensor("rows", lines[:20]))
                answers.append((response.content["model_version"], response.probabilities))
            return answers

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            for number in (1, 0, 1):
                put_in_place(packages[number], link)
                versions[number] = server.wait_for_line(rf"version (\w+) replaces {versions[1 - number]}\n$")[1]
            is_done = True
            answers = [answer for each in asking for answer in each.result()]
        assert {version for version, _ in answers} == set(versions)
        for version, probabilities in answers:
            assert are_close(probabilities, expected[versions.index(version)])
        assert server.metric('packages_total{result="loaded"}') == 4


def test_a_broken_package_is_refused_in_one_line_and_the_old_one_stays(packages, tmp_path, lines):
    link, broken = tmp_path / "model", tmp_path / "broken"
    put_in_place(packages[0], link)
    shutil.copytree(packages[1], broken)
    with (broken / "model.onnx").open("r+b") as file:
        file.truncate(1000)
    with Server(link, tmp_path / "log") as server:
        put_in_place(broken, link)
        server.wait_for_line("refused a new package")
        assert server.infer(tensor("rows", lines[:1])).content["model_version"] == server.version
        assert len(server.log.splitlines()) == 2 and "model.onnx" in server.log
        shutil.copy(packages[1] / "model.onnx", broken / "model.onnx")  # the same folder, repaired
        server.wait_for_line(f"replaces {server.version}")
        assert server.metric('packages_total{result="refused"}') == 1


def run_serve(*flags):
    command = [serving_python(), ROOT / "serve.py", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_mistakes_end_in_one_line(packages, tmp_path, server):
    assert_refused(run_serve(), "--model_path is missing")
    assert_refused(run_serve("--modelpath=x"), "--model_path")
    assert_refused(run_serve(f"--model_path={packages[0]}", "--port=99999"), "port=99999", "at most 65535")
    assert_refused(run_serve(f"--model_path={packages[0]}", "--max_body_mb=3000"), "max_body_mb=3000", "at most 1000")
    assert_refused(run_serve(f"--model_path={tmp_path}", "--port=0"), "holds no package.json")
    assert_refused(run_serve(f"--model_path={tmp_path}/none", "--port=0"), "none")
    assert_refused(run_serve(f"--model_path={packages[0]}", f"--port={server.port}"), f"--port={server.port}")
    taken = run_serve(f"--model_path={packages[0]}", "--port=0", f"--grpc_port={server.grpc_port}")
    assert_refused(taken, "--grpc_port", str(server.grpc_port))


def test_an_environment_without_the_packages_is_told_what_to_install(packages):
    finished = subprocess.run(
        [sys.executable, ROOT / "serve.py", f"--model_path={packages[0]}"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert_refused(finished, "requirements-serve.txt")


def test_the_environment_of_the_server_has_no_mindspore_and_importing_does_nothing():
    modules = ", ".join(f"src.serving.{path.stem}" for path in sorted((ROOT / "src" / "serving").glob("[!_]*.py")))
    code = f"import sys; sys.argv = ['x', '--none']; import serve, {modules}; sys.exit('mindspore' in sys.modules)"
    finished = subprocess.run([serving_python(), "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    listed = subprocess.run([serving_python(), "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"^(mindspore|torch|tensorflow)\b", listed, re.M | re.I)
