# SPDX-License-Identifier: Apache-2.0
"""The JSON of the Open Inference Protocol: requests and responses."""

import math
from typing import Any

import orjson

from src.serving.infer_request import (
    BYTES,
    EXPLAIN,
    FP64,
    INT64,
    LARGEST_INT64,
    SMALLEST_INT64,
    InferRequest,
    InferResponse,
    Tensor,
    check_count,
    check_datatype,
    check_outputs,
    check_shape,
)
from src.serving.request_errors import RequestError
from src.serving.service import MODEL_NAME

KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}


def read_request(body: bytes, max_rows: int) -> InferRequest:
    """Return the request that a body holds; RequestError if it holds none, or more than max_rows rows."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    _check_kind(content, dict, "the body")
    inputs = _get(content, "inputs", list, "the body")
    outputs = _get_optional(content, "outputs", list)
    check_outputs([each.get("name") if isinstance(each, dict) else None for each in outputs])
    explain = _get_optional(_get_optional(content, "parameters", dict), EXPLAIN, bool)
    return InferRequest(_get_optional(content, "id", str), [_read_tensor(each, max_rows) for each in inputs], explain)


def _read_tensor(content, max_rows):
    _check_kind(content, dict, "an input")
    name = _get(content, "name", str, "an input")
    where = f"input {name[:60]!a}"
    datatype = _get(content, "datatype", str, where)
    check_datatype(where, datatype)
    elements = _get(content, "data", list, where)
    check_count(where, len(elements), max_rows)
    data = [_element(each) for each in elements]
    check_shape(where, _get(content, "shape", list, where), len(data))
    if datatype == INT64:
        if any(type(each) is not int or not SMALLEST_INT64 <= each <= LARGEST_INT64 for each in data):
            raise RequestError(f"{where}: its data must be whole numbers of 64 bits")
        return Tensor(name, INT64, data)
    if datatype == FP64:
        if any(type(each) not in (int, float, type(None)) for each in data):
            raise RequestError(f"{where}: its data must be numbers, or null for a missing one")
        return Tensor(name, FP64, [math.nan if each is None else float(each) for each in data])
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


def _get_optional(content, key, kind):
    """Return a value; an empty one, or False, if there is none."""
    if content.get(key) is None:
        return kind()
    _check_kind(content[key], kind, key)
    return content[key]


def _check_kind(value, kind, where):
    if type(value) is not kind:
        raise RequestError(f"{where} must be {KINDS[kind]}")


def write_response(response: InferResponse) -> bytes:
    """Return the body of a response; a number has the fewest digits that tell it from all others of its type."""
    content: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": response.version}
    content["outputs"] = [_describe(output) for output in response.outputs]
    return write_json(content | ({"id": response.id} if response.id else {}))


def _describe(output):
    data = [text.decode() for text in output.data] if output.datatype == BYTES else output.data
    return {"name": output.name, "shape": [len(data), 1], "datatype": output.datatype, "data": data}


def write_json(content: object) -> bytes:
    """Return JSON of built-in types, dataclasses and numpy arrays."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
