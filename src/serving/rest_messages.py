# SPDX-License-Identifier: Apache-2.0
"""The JSON of the Open Inference Protocol: requests and responses."""

from typing import Any

import orjson

from src.serving.infer_request import (
    BYTES,
    INT64,
    LARGEST_INT64,
    PROBABILITY,
    SMALLEST_INT64,
    InferRequest,
    Tensor,
    check_datatype,
    check_outputs,
    check_shape,
)
from src.serving.request_errors import RequestError
from src.serving.service import MODEL_NAME, Prediction

KINDS = {dict: "an object", list: "a list", str: "a text"}


def read_request(body: bytes) -> InferRequest:
    """Return the request that a body holds; RequestError if it holds none."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    _check_kind(content, dict, "the body")
    inputs = _get(content, "inputs", list, "the body")
    outputs = content.get("outputs") or []
    _check_kind(outputs, list, "outputs")
    check_outputs([each.get("name") if isinstance(each, dict) else None for each in outputs])
    request_id = content.get("id") or ""
    _check_kind(request_id, str, "id")
    return InferRequest(request_id, [_read_tensor(each) for each in inputs])


def _read_tensor(content):
    _check_kind(content, dict, "an input")
    name = _get(content, "name", str, "an input")
    where = f"input {name[:60]!a}"
    datatype = _get(content, "datatype", str, where)
    check_datatype(where, datatype)
    data = [_element(each) for each in _get(content, "data", list, where)]
    check_shape(where, _get(content, "shape", list, where), len(data))
    if datatype == INT64:
        if any(type(each) is not int or not SMALLEST_INT64 <= each <= LARGEST_INT64 for each in data):
            raise RequestError(f"{where}: its data must be whole numbers of 64 bits")
        return Tensor(name, INT64, data)
    if any(type(each) is not str for each in data):
        raise RequestError(f"{where}: its data must be texts")
    return Tensor(name, BYTES, [each.encode() for each in data])


def _element(value):
    """Return the element of a row, which is also written as a list of one."""
    return value[0] if type(value) is list and len(value) == 1 else value


def _get(content, key, kind, where):
    if key not in content:
        raise RequestError(f"{where} has no {key}")
    _check_kind(content[key], kind, f"{key} of {where}")
    return content[key]


def _check_kind(value, kind, where):
    if type(value) is not kind:
        raise RequestError(f"{where} must be {KINDS[kind]}")


def write_prediction(prediction: Prediction) -> bytes:
    """Return the body of a response; a probability has the fewest digits that tell its float32 from all others."""
    probabilities = prediction.probabilities
    output = {"name": PROBABILITY, "shape": [len(probabilities), 1], "datatype": "FP32", "data": probabilities}
    content: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": prediction.version, "outputs": [output]}
    return write_json(content | ({"id": prediction.request_id} if prediction.request_id else {}))


def write_json(content: object) -> bytes:
    """Return JSON of built-in types, dataclasses and numpy arrays."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
