# SPDX-License-Identifier: Apache-2.0
"""Both servers of the process, HTTP and gRPC, from the first request until all are answered."""

import asyncio
import gc
import logging
import socket
import sys

import uvicorn
import uvloop

from src.common.errors import UserError
from src.common.signals import on_signal
from src.serving.grpc_server import create_grpc_server
from src.serving.http_protocol import BoundedHeads
from src.serving.live_model import LiveModel
from src.serving.metrics import Metrics
from src.serving.rest_app import create_app
from src.serving.service import MODEL_NAME, Service

SERVER_NAME, SERVER_VERSION = "deepfm", "1"
MAX_CONNECTIONS = 1000  # of HTTP; more get a 503
SECONDS_TO_DRAIN = 30  # in which the requests in progress must end
SWITCH_SECONDS = 0.0005  # after which a thread gets its turn: 5 ms, the default, would be added to the latency
LOGGER = logging.getLogger(__name__)


def serve(
    model_path: str, *, host: str, port: int, grpc_port: int, max_body_mb: float, max_rows_in_flight: int
) -> None:
    """Serve a package by HTTP and gRPC until a signal comes, then answer the requests in progress.

    port, grpc_port: 0 for a free one.  Raises UserError if the package is refused or a port is taken.
    """
    with _listening(host, port) as listener:
        metrics = Metrics()
        live = LiveModel(model_path, metrics.count_package)
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()  # so that the garbage collector does not visit the modules and the vocabulary again and again
        service = Service(live, metrics, int(max_body_mb * 1e6), max_rows_in_flight)
        uvloop.run(_serve(service, live, listener, host, grpc_port))


async def _serve(service, live, listener, host, grpc_port):
    """Start both servers, print where they listen, and stop them after a signal."""
    address = f"{_bracketed(host)}:{grpc_port}"
    grpc_server, grpc_port = create_grpc_server(service, address, SERVER_NAME, SERVER_VERSION)
    http_server = _create_http_server(service)
    stop = _stop_event()
    await grpc_server.start()
    serving = asyncio.create_task(http_server.serve([listener]))
    watching = asyncio.create_task(live.watch())
    print(_describe(host, listener.getsockname()[1], grpc_port, live.current.version), flush=True)
    await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    http_server.should_exit = True
    await asyncio.gather(serving, grpc_server.stop(SECONDS_TO_DRAIN))


def _listening(host, port):
    """Return a socket that listens; before the model is loaded, so that a port that is taken is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host={host} --port={port} cannot be listened on: {error}; choose another one") from error


def _bracketed(host):
    return f"[{host}]" if ":" in host else host


def _create_http_server(service):
    config = uvicorn.Config(
        create_app(service, SERVER_NAME, SERVER_VERSION),
        http=BoundedHeads,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_DRAIN,
    )
    return uvicorn.Server(config)


def _stop_event():
    """Return an event that the first signal sets; a second one ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def handle(number):
        LOGGER.info("stopping: no new requests, those in progress are answered")
        on_signal(None)
        loop.call_soon_threadsafe(stop.set)

    on_signal(handle)
    return stop


def _describe(host, port, grpc_port, version):
    host = _bracketed(host)
    return f"serving {MODEL_NAME}, version {version}: http://{host}:{port}, gRPC {host}:{grpc_port}"
