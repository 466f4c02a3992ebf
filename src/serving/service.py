# SPDX-License-Identifier: Apache-2.0
"""The service behind both protocols: a request becomes rows, is admitted, and scored in a batch."""

import asyncio
import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TypeVar

from src.serving.admission import Admission
from src.serving.batching import Batcher
from src.serving.infer_request import BYTES, FP32, FP64, INT64, PROBABILITY, InferRequest, InferResponse, Tensor
from src.serving.live_model import LiveModel, ServedModel
from src.serving.metrics import Metrics
from src.serving.panics import without_panics
from src.serving.raw_lines import ROWS, to_lines
from src.serving.request_errors import MalformedRows, Overloaded, RequestError, RequestTooLarge, UnknownModel
from src.serving.scoring import explain_rows, score_requests

MODEL_NAME = "deepfm"
PLATFORM = "onnx_onnxv1"
MAX_BATCH_ROWS = 10_000  # so many take about 0.1 s, for which other requests wait
MAX_EXPLAINED_ROWS = 1000  # of a request
BODIES_IN_FLIGHT = 8  # largest bodies that fit the memory for bodies in progress
LARGE_BODY_BYTES = 1 << 18  # from here on a body is read in a thread, so that other requests do not wait for it
CLIENT_HAS_GONE = 499  # the status, of no standard, by which a request without an answer is counted


Body = TypeVar("Body")
Read = Callable[[Body, int], InferRequest]


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """The metadata of an input or output of n rows."""

    name: str
    datatype: str
    shape: tuple[int, int] = (-1, 1)


class Service:
    """Scores requests with the current model.

    max_body_bytes: of one request.  max_rows_in_flight: of all requests in progress.
    """

    def __init__(self, live: LiveModel, metrics: Metrics, max_body_bytes: int, max_rows_in_flight: int):
        self.max_body_bytes, self.max_rows_in_flight = max_body_bytes, max_rows_in_flight
        self._live, self.metrics = live, metrics
        self._rows = Admission("rows", max_rows_in_flight)
        self._bytes = Admission("bytes", BODIES_IN_FLIGHT * max_body_bytes)
        self._batcher = Batcher(score_requests, MAX_BATCH_ROWS, metrics.batch_rows.observe)
        metrics.rows_in_flight.set_function(lambda: self._rows.in_flight)
        metrics.body_bytes_in_flight.set_function(lambda: self._bytes.in_flight)

    def served(self, name: str, version: str = "") -> ServedModel:
        """Return the current model; UnknownModel unless it has this name and, if one is given, this version."""
        current = self._live.current
        if name != MODEL_NAME:
            raise UnknownModel(f"the model served here is {MODEL_NAME}")
        if version not in ("", current.version):
            raise UnknownModel(f"the version served here is {current.version}")
        return current

    @contextlib.contextmanager
    def admitted_body(self) -> Iterator[Callable[[int], None]]:
        """Hold the memory for a body during a `with` block.

        Yields a function that takes the memory for the next so many bytes; it raises RequestTooLarge or Overloaded.
        """
        size = 0

        def take(byte_count):
            nonlocal size
            size += byte_count
            check_size(size, self.max_body_bytes)
            hold(byte_count)

        with self._bytes.holding() as hold:
            yield take

    async def infer(self, read: Read[Body], body: Body, byte_count: int, served: ServedModel) -> InferResponse:
        """Score the request that `read` finds in a body of so many bytes; RequestError if it is refused."""
        schema = served.model.encoder.schema
        read_lines = functools.partial(_read_lines, read, body, self.max_rows_in_flight, schema)
        request, lines = await asyncio.to_thread(read_lines) if byte_count > LARGE_BODY_BYTES else read_lines()
        if request.explain and len(lines) > MAX_EXPLAINED_ROWS:
            raise RequestTooLarge(
                f"{len(lines):,} rows are to be explained, the limit is {MAX_EXPLAINED_ROWS:,}; split it"
            )
        with self._rows.holding() as hold:
            hold(len(lines))
            outputs = [Tensor(PROBABILITY, FP32, await self._batcher.submit(served.model, lines))]
            if request.explain:
                outputs += await asyncio.to_thread(without_panics, explain_rows, served.model, lines)
        self.metrics.rows.inc(len(lines))
        return InferResponse(request.id, served.version, outputs)

    @contextlib.contextmanager
    def counted(self, protocol: str) -> Iterator[None]:
        """Count and time the inference request that is answered in a `with` block, by its status in HTTP."""
        start, status = time.perf_counter(), int(HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            yield
            status = int(HTTPStatus.OK)
        except RequestError as error:
            status = int(error.http_status)
            self._count_refusal(error)
            raise
        except asyncio.CancelledError:
            status = CLIENT_HAS_GONE
            raise
        finally:
            self.metrics.requests.labels(protocol, status).inc()
            self.metrics.seconds.labels(protocol).observe(time.perf_counter() - start)

    def _count_refusal(self, error):
        if isinstance(error, MalformedRows):
            self.metrics.malformed_rows.inc(error.count)
        elif isinstance(error, (Overloaded, RequestTooLarge)):
            self.metrics.rejected.labels("overload" if isinstance(error, Overloaded) else "size").inc()

    def inputs(self, served: ServedModel) -> list[TensorInfo]:
        """Return the metadata of all inputs: "rows", which takes the place of all others, and the columns."""
        schema = served.model.encoder.schema
        return [
            TensorInfo(ROWS, BYTES),
            *(TensorInfo(name, INT64) for name in schema.integer_names),
            *(TensorInfo(name, FP64) for name in schema.float_names),
            *(TensorInfo(name, BYTES) for name in schema.sparse_names),
        ]

    def outputs(self) -> list[TensorInfo]:
        """Return the metadata of the output that every response has."""
        return [TensorInfo(PROBABILITY, FP32)]


def _read_lines(read, body, max_rows, schema):
    """Return a request and its rows as lines."""
    request = read(body, max_rows)
    return request, to_lines(request.tensors, schema)


def check_size(byte_count: int, max_bytes: int) -> None:
    """Raise RequestTooLarge for a body, or the part of one that has arrived, of more than max_bytes."""
    if byte_count > max_bytes:
        raise RequestTooLarge(f"the body is larger than {max_bytes / 1e6:g} MB; split it, or raise --max_body_mb")
