# SPDX-License-Identifier: Apache-2.0
"""What gRPC answers on a real package, which is what REST answers."""

import grpc
import numpy as np
import polars as pl
import pytest

from src.package import load_model
from tests.inference_requests import LINES, are_close, check_part, column_inputs, grpc_input, length_prefixed, tensor
from tests.serving import GrpcClient


@pytest.fixture(scope="module")
def client(server):
    return GrpcClient(server)


def test_grpc_health_and_metadata(client, server):
    assert client.call("ServerLive").live and client.call("ServerReady").ready
    assert client.call("ModelReady", name="deepfm").ready
    assert client.call("ServerMetadata").name == "deepfm"
    metadata = client.call("ModelMetadata", name="deepfm")
    rest = server.get("/v2/models/deepfm").content
    assert [metadata.name, list(metadata.versions)] == [rest["name"], rest["versions"]]
    found = [{"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in metadata.inputs]
    assert found == rest["inputs"]


def test_grpc_has_the_probabilities_of_the_python_api(client, server, expected):
    response = client.call("ModelInfer", model_name="deepfm", id="7", inputs=[grpc_input("rows", LINES)])
    assert (response.model_name, response.model_version, response.id) == ("deepfm", server.version, "7")
    assert are_close(response.outputs[0].contents.fp32_contents, expected)
    columns = [grpc_input(each["name"], each["data"], each["datatype"]) for each in column_inputs(LINES, "INT64")]
    response = client.call("ModelInfer", model_name="deepfm", inputs=columns)
    assert are_close(response.outputs[0].contents.fp32_contents, expected)


def test_an_explanation_is_that_of_rest(client, server):
    expected = server.infer(tensor("rows", LINES), parameters={"explain": True}).content["outputs"]
    parameters = {"explain": {"bool_param": True}}
    found = client.call("ModelInfer", model_name="deepfm", inputs=[grpc_input("rows", LINES)], parameters=parameters)
    assert [(each.name, each.datatype) for each in found.outputs] == [
        (each["name"], each["datatype"]) for each in expected
    ]
    assert list(found.outputs[1].contents.fp64_contents) == expected[1]["data"]


def check_raw_part(content, column):
    """Check the raw contents of a part of explanations."""
    if column.dtype == pl.String:
        assert content == length_prefixed(column)
    else:
        check_part(np.frombuffer(content, "<f8"), column)


def test_grpc_raw_contents_are_answered_by_raw_contents(client, packages, expected):
    raw = length_prefixed(LINES)
    inputs = [{"name": "rows", "datatype": "BYTES", "shape": [len(LINES)]}]
    parameters = {"explain": {"bool_param": True}}
    response = client.call(
        "ModelInfer", model_name="deepfm", inputs=inputs, raw_input_contents=[raw], parameters=parameters
    )
    frame = load_model(packages[0]).explain(LINES).to_frame()
    assert [each.name for each in response.outputs] == ["probability", *frame.columns]
    for output, content in list(zip(response.outputs, response.raw_output_contents))[1:]:
        check_raw_part(content, frame[output.name])
    assert are_close(np.frombuffer(response.raw_output_contents[0], "<f4"), expected)
    inputs, contents = [], []
    for each in column_inputs(LINES, "INT64"):
        inputs.append({"name": each["name"], "datatype": each["datatype"], "shape": each["shape"]})
        if each["datatype"] == "INT64":
            contents.append(np.array(each["data"], "<i8").tobytes())
        else:
            contents.append(length_prefixed(each["data"]))
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
