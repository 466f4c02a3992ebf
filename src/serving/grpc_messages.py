# SPDX-License-Identifier: Apache-2.0
"""The messages of the Open Inference Protocol by gRPC.

open_inference_grpc.proto is that of https://github.com/kserve/open-inference-protocol, unchanged.
"""

import struct
from typing import Any

import grpc

from src.serving.infer_request import (
    BYTES,
    PROBABILITY,
    InferRequest,
    Tensor,
    check_datatype,
    check_outputs,
    check_shape,
)
from src.serving.request_errors import RequestError
from src.serving.service import MODEL_NAME, Prediction

PROTO = "src/serving/open_inference_grpc.proto"  # below the folder of serve.py
LENGTH = struct.Struct("<I")


def load_messages() -> Any:
    """Return the module of the messages."""
    return grpc.protos(PROTO)


def read_request(message: Any) -> InferRequest:
    """Return the request that a ModelInferRequest holds; RequestError if it holds none."""
    check_outputs([output.name for output in message.outputs])
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RequestError("raw_input_contents must have an element for each input")
    tensors = [_read_tensor(each, raw[index] if raw else None) for index, each in enumerate(message.inputs)]
    return InferRequest(message.id, tensors)


def _read_tensor(message, raw):
    where = f"input {message.name[:60]!a}"
    check_datatype(where, message.datatype)
    if raw is None:
        contents = message.contents
        data = list(contents.bytes_contents if message.datatype == BYTES else contents.int64_contents)
    else:
        data = _split_texts(where, raw) if message.datatype == BYTES else _split_integers(where, raw)
    check_shape(where, message.shape, len(data))
    return Tensor(message.name, message.datatype, data)


def _split_texts(where, raw):
    """Return the elements of raw BYTES: each follows its length, 4 bytes in little endian."""
    elements, start = [], 0
    while start < len(raw):
        end = start + LENGTH.size
        end += LENGTH.unpack_from(raw, start)[0] if end <= len(raw) else 0
        if end > len(raw):
            raise RequestError(f"{where}: its raw contents end within an element")
        elements.append(raw[start + LENGTH.size : end])
        start = end
    return elements


def _split_integers(where, raw):
    if len(raw) % 8:
        raise RequestError(f"{where}: its raw contents end within an element")
    return list(struct.unpack(f"<{len(raw) // 8}q", raw))


def write_prediction(messages: Any, prediction: Prediction, raw: bool) -> Any:
    """Return a ModelInferResponse.  raw: whether the probabilities are float32 in little endian, as raw inputs are."""
    probabilities = prediction.probabilities
    response = messages.ModelInferResponse(
        model_name=MODEL_NAME, model_version=prediction.version, id=prediction.request_id
    )
    output = response.outputs.add(name=PROBABILITY, datatype="FP32", shape=[len(probabilities), 1])
    if raw:
        response.raw_output_contents.append(probabilities.astype("<f4").tobytes())
    else:
        output.contents.fp32_contents.extend(probabilities.tolist())
    return response
