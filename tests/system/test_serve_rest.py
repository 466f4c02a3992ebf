# SPDX-License-Identifier: Apache-2.0
"""What the REST API of the server answers on a real package: scores, metadata, refusals of requests, metrics."""

import concurrent.futures
import json

import numpy as np
import pytest

from src.package import load_model
from tests.inference_requests import COLUMNS, INTEGERS, LINES, are_close, check_part, column_inputs, tensor
from tests.serving import INFER


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
def test_every_form_of_rows_has_the_probabilities_of_the_python_api(server, expected, form):
    found = server.infer(*forms_of(LINES)[form]).probabilities
    assert are_close(found, expected)


@pytest.mark.parametrize("count", [1, 7, 600])
def test_few_and_many_rows_are_scored_alike(server, expected, count):
    found = server.infer(tensor("rows", (LINES * 2)[:count])).probabilities
    assert are_close(found, np.tile(expected, 2)[:count])


def test_an_explanation_has_the_parts_of_each_logit(server, packages):
    frame = load_model(packages[0]).explain(LINES).to_frame()
    response = server.infer(tensor("rows", LINES), parameters={"explain": True})
    outputs = {output["name"]: output["data"] for output in response.content["outputs"]}
    assert list(outputs) == ["probability", *frame.columns]
    for name in frame.columns:
        check_part(outputs[name], frame[name])
    assert are_close(1 / (1 + np.exp(-np.array(outputs["logit"]))), outputs["probability"])
    refused = server.infer(tensor("rows", LINES * 4), parameters={"explain": True})
    assert refused.status == 413 and "1,200 rows are to be explained" in refused.content["error"]


def test_a_response_names_the_model_its_version_and_the_request(server):
    content = server.infer(tensor("rows", LINES[:1]), id="42", outputs=[{"name": "probability"}]).content
    assert (content["model_name"], content["model_version"], content["id"]) == ("deepfm", server.version, "42")
    path = f"/v2/models/deepfm/versions/{server.version}/infer"
    assert server.request("POST", path, json.dumps({"inputs": [tensor("rows", LINES[:1])]})).status == 200


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


def test_malformed_rows_are_named_one_by_one(server):
    bad = [LINES[0], "x", LINES[1].replace("\t", "q\t", 1), *LINES[2:4]]
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


def test_a_malformed_row_does_not_harm_the_requests_that_are_scored_with_it(server, expected):
    """Requests of many clients share batches; each keeps its own answer."""

    def ask(number):
        if number % 4 == 0:
            return server.infer(tensor("rows", [LINES[number], "bad"])).status == 400
        found = server.infer(tensor("rows", LINES[number : number + 3])).probabilities
        return are_close(found, expected[number : number + 3])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(290)))


def test_metrics_count_what_has_been_served(server):
    names = [
        "rows_total",
        "malformed_rows_total",
        'requests_total{protocol="http",status="200"}',
        'request_seconds_count{protocol="http"}',
    ]
    before = [server.metric(name) for name in names]
    server.infer(tensor("rows", LINES[:5]))
    server.infer(tensor("rows", [LINES[0], "x", "y"]))
    assert [server.metric(name) - was for name, was in zip(names, before)] == [5, 2, 1, 2]
    assert server.metric(f'model_info{{version="{server.version}"}}') == 1
    assert server.metric("batch_rows_count") > 0
