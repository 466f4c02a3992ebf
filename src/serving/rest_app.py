# SPDX-License-Identifier: Apache-2.0
"""The HTTP side of the server: the Open Inference Protocol, metrics, and a page for people."""

import asyncio
import base64
import contextlib
import hashlib
import pathlib
import re
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from src.serving.request_errors import MalformedRows, Overloaded, RequestError, SlowBody, UnsupportedBody
from src.serving.rest_messages import read_request, write_json, write_response
from src.serving.service import MODEL_NAME, PLATFORM, Service, check_size

SECONDS_PER_BODY = 30  # in which a body must have arrived
PAGE = pathlib.Path(__file__).with_name("page.html")
DISCARDED_BYTES, SECONDS_TO_DISCARD = 64_000_000, 2  # at most, of a body that is refused
CLOSE = {"connection": "close"}  # so that the rest of a body that was not read is not received


def create_app(service: Service, server_name: str, server_version: str) -> Starlette:
    """Return the application."""
    endpoints = _Endpoints(service, server_name, server_version)
    routes = []  # the most frequent first, as they are compared in their order
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(f"{path}/infer", endpoints.infer, methods=["POST"]),
            Route(f"{path}/ready", endpoints.model_ready),
            Route(path, endpoints.model_metadata),
        ]
    routes += [Route("/v2/health/live", endpoints.live), Route("/v2/health/ready", endpoints.ready)]
    routes += [Route("/v2", endpoints.server_metadata), Route("/v2/", endpoints.server_metadata)]
    routes += [Route("/", endpoints.page), Route("/example_rows", endpoints.example_rows)]
    routes += [Route("/metrics", endpoints.metrics)]
    handlers = {RequestError: _refuse, HTTPException: _refuse_route, Exception: _fail}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


class _Endpoints:
    def __init__(self, service, server_name, server_version):
        self._service = service
        self._server = {"name": server_name, "version": server_version, "extensions": []}
        self._page = PAGE.read_bytes()
        self._page_policy = _content_policy(self._page.decode())

    async def page(self, request: Request) -> Response:
        headers = {"content-security-policy": self._page_policy, "referrer-policy": "no-referrer"}
        return Response(self._page, media_type="text/html", headers=headers)

    async def example_rows(self, request: Request) -> Response:
        return Response(self._service.served(MODEL_NAME).example_rows, media_type="text/plain")

    async def metrics(self, request: Request) -> Response:
        return Response(self._service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def live(self, request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        return _json({"ready": True})

    async def server_metadata(self, request: Request) -> Response:
        return _json(self._server)

    async def model_ready(self, request: Request) -> Response:
        self._served(request)
        return _json({"name": MODEL_NAME, "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        served = self._served(request)
        inputs, outputs = self._service.inputs(served), self._service.outputs()
        content = {"name": MODEL_NAME, "versions": [served.version], "platform": PLATFORM}
        return _json(content | {"inputs": inputs, "outputs": outputs})

    async def infer(self, request: Request) -> Response:
        with self._service.counted("http"):
            served = self._served(request)
            _check_headers(request, self._service.max_body_bytes)
            with self._service.admitted_body() as take:
                body = await _read_body(request, take)
                response = await self._service.infer(read_request, body, len(body), served)
            return Response(write_response(response), media_type="application/json")

    def _served(self, request):
        return self._service.served(request.path_params["name"], request.path_params.get("version", ""))


def _content_policy(html):
    """Return a Content-Security-Policy that allows the script and the style of the page, and requests to the server."""
    digests = {
        tag: base64.b64encode(hashlib.sha256(re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)[1].encode()).digest())
        for tag in ("script", "style")
    }
    sources = "; ".join(f"{tag}-src 'sha256-{digest.decode()}'" for tag, digest in digests.items())
    return f"default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; {sources}"


def _check_headers(request, max_bytes):
    """Refuse a body by its headers, before it is received."""
    for header in ("content-encoding", "inference-header-content-length"):
        if request.headers.get(header, "identity") != "identity":
            raise UnsupportedBody(f"the header {header} is not supported; send plain JSON")
    check_size(int(request.headers.get("content-length", 0)), max_bytes)


async def _read_body(request, take):
    """Return the body; take: gets the size of each part before the next one is received."""
    try:
        body = await asyncio.wait_for(_receive(request, take), SECONDS_PER_BODY)
    except asyncio.TimeoutError:
        raise SlowBody(f"the body has not arrived within {SECONDS_PER_BODY} seconds") from None
    except ClientDisconnect:
        raise RequestError("the client has gone") from None  # nobody receives the response
    request.state.has_body = True
    return body


async def _receive(request, take):
    chunks = []
    async for chunk in request.stream():
        take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _discard_body(request):
    """Receive the rest of a body that is refused: most clients read the answer only when they have sent all of it."""
    announced = int(request.headers.get("content-length", 0))
    if "expect" in request.headers or announced > DISCARDED_BYTES:
        return
    # RuntimeError: all of it has been received.
    with contextlib.suppress(RuntimeError, ClientDisconnect, asyncio.TimeoutError):
        await asyncio.wait_for(_receive_and_forget(request), SECONDS_TO_DISCARD)


async def _receive_and_forget(request):
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > DISCARDED_BYTES:
            return


def _json(content, status=HTTPStatus.OK, headers=None):
    return Response(write_json(content), status, headers, media_type="application/json")


async def _refuse(request, error):
    content = {"error": str(error)}
    if isinstance(error, MalformedRows):
        content["malformed_rows"] = [{"row": row, "reason": fault} for row, fault in error.faults.items()]
    has_body = getattr(request.state, "has_body", False)
    if not has_body and not isinstance(error, SlowBody):
        await _discard_body(request)
    headers = {} if has_body else dict(CLOSE)
    if isinstance(error, Overloaded):
        headers["retry-after"] = "1"
    return _json(content, error.http_status, headers)


async def _refuse_route(request, error):
    await _discard_body(request)
    return _json({"error": f"{request.method} {request.url.path}: {error.detail}"}, error.status_code, CLOSE)


async def _fail(request, error):
    return _json({"error": "internal error; the log of the server has the details"}, HTTPStatus.INTERNAL_SERVER_ERROR)
