# SPDX-License-Identifier: Apache-2.0
"""The messages of the Open Inference Protocol by gRPC.

open_inference_grpc.proto is that of https://github.com/kserve/open-inference-protocol, unchanged.
"""

import struct
from typing import Any

import grpc

from src.serving.infer_request import (
    BYTES,
    EXPLAIN,
    FP32,
    FP64,
    INT64,
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

PROTO = "src/serving/open_inference_grpc.proto"  # below the folder of serve.py
CONTENTS = {BYTES: "bytes_contents", INT64: "int64_contents", FP32: "fp32_contents", FP64: "fp64_contents"}
FORMATS = {INT64: "q", FP64: "d"}  # of raw numbers
LENGTH = struct.Struct("<I")


def load_messages() -> Any:
    """Return the module of the messages."""
    return grpc.protos(PROTO)


def read_request(message: Any, max_rows: int) -> InferRequest:
    """Return the request that a ModelInferRequest holds; RequestError if it holds none, or more than max_rows rows."""
    check_outputs([output.name for output in message.outputs])
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError("raw_input_contents must have an element for each input")
    contents = raw or [None] * len(message.inputs)
    tensors = [_read_tensor(each, content, max_rows) for each, content in zip(message.inputs, contents)]
    return InferRequest(message.id, tensors, _read_explain(message.parameters))


def _read_explain(parameters):
    if EXPLAIN not in parameters:
        return False
    if parameters[EXPLAIN].WhichOneof("parameter_choice") != "bool_param":
        raise RequestError(f"{EXPLAIN} must be true or false, as bool_param")
    return parameters[EXPLAIN].bool_param


def _read_tensor(message, raw, max_rows):
    where = f"input {message.name[:60]!a}"
    check_datatype(where, message.datatype)
    if raw is None:
        elements = getattr(message.contents, CONTENTS[message.datatype])
        check_count(where, len(elements), max_rows)
        data = list(elements)
    elif message.datatype == BYTES:
        data = _split_texts(where, raw, max_rows)
    else:
        data = _split_numbers(where, raw, max_rows, FORMATS[message.datatype])
    check_shape(where, message.shape, len(data))
    return Tensor(message.name, message.datatype, data)


def _split_texts(where, raw, max_rows):
    """Return the elements of raw BYTES: each follows its length, 4 bytes in little endian."""
    elements, start = [], 0
    while start < len(raw):
        end = start + LENGTH.size
        end += LENGTH.unpack_from(raw, start)[0] if end <= len(raw) else 0
        if end > len(raw):
            raise RequestError(f"{where}: its raw contents end within an element")
        elements.append(raw[start + LENGTH.size : end])
        check_count(where, len(elements), max_rows)
        start = end
    return elements


def _split_numbers(where, raw, max_rows, form):
    """Return the elements of raw numbers of 8 bytes.  form: as struct has it."""
    if len(raw) % 8:
        raise RequestError(f"{where}: its raw contents end within an element")
    count = len(raw) // 8
    check_count(where, count, max_rows)
    return list(struct.unpack(f"<{count}{form}", raw))


def write_response(messages: Any, response: InferResponse, raw: bool) -> Any:
    """Return a ModelInferResponse.  raw: whether its contents are bytes, as raw inputs are."""
    message = messages.ModelInferResponse(model_name=MODEL_NAME, model_version=response.version, id=response.id)
    for output in response.outputs:
        tensor = message.outputs.add(name=output.name, datatype=output.datatype, shape=[len(output.data), 1])
        if raw:
            message.raw_output_contents.append(_join(output))
        else:
            getattr(tensor.contents, CONTENTS[output.datatype]).extend(output.data)
    return message


def _join(output):
    if output.datatype == BYTES:
        return b"".join(LENGTH.pack(len(text)) + text for text in output.data)
    return output.data.astype("<f4" if output.datatype == FP32 else "<f8").tobytes()
