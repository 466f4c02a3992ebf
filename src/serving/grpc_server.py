# SPDX-License-Identifier: Apache-2.0
"""The gRPC side of the server: the Open Inference Protocol."""

import grpc

from src.common.errors import UserError
from src.serving.grpc_messages import load_messages, read_request, write_response
from src.serving.grpc_reading import reading
from src.serving.request_errors import RequestError
from src.serving.service import MODEL_NAME, PLATFORM, Service

SERVICE = "inference.GRPCInferenceService"
MAX_CALLS_PER_CONNECTION = 16  # at a time; clients send no more, theirs wait
MAX_CALLS = 64  # at a time, each with a message in memory; gRPC refuses more as RESOURCE_EXHAUSTED
LONGEST_DETAILS = 6000  # characters; clients accept 8 KiB of headers


def create_grpc_server(
    service: Service, address: str, server_name: str, server_version: str
) -> tuple[grpc.aio.Server, int]:
    """Return a server that listens on an address, and its port; UserError if the port is taken."""
    options = [
        ("grpc.max_receive_message_length", service.max_body_bytes),
        ("grpc.max_concurrent_streams", MAX_CALLS_PER_CONNECTION),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_CALLS)
    server.add_generic_rpc_handlers([_handlers(_Methods(service, server_name, server_version))])
    try:
        return server, server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(f"--grpc_port: {address} cannot be listened on; choose another one") from error


def _handlers(methods):
    """Return a handler for each rpc of the protocol: the method of its name."""
    messages = methods.messages
    handlers = {}
    for rpc in messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        handler = reading(getattr(messages, rpc.input_type.name), getattr(methods, rpc.name))
        serialize = getattr(messages, rpc.output_type.name).SerializeToString
        handlers[rpc.name] = grpc.unary_unary_rpc_method_handler(handler, response_serializer=serialize)
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


class _Methods:
    """The rpcs of the protocol, by name."""

    def __init__(self, service, server_name, server_version):
        self.messages = load_messages()
        self._service = service
        self._server = self.messages.ServerMetadataResponse(name=server_name, version=server_version)

    async def ServerLive(self, request, context):
        return self.messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request, context):
        return self.messages.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request, context):
        return self._server

    async def ModelReady(self, request, context):
        await self._served(request.name, request.version, context)
        return self.messages.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request, context):
        served = await self._served(request.name, request.version, context)
        response = self.messages.ModelMetadataResponse(name=MODEL_NAME, versions=[served.version], platform=PLATFORM)
        for tensors, infos in (
            (response.inputs, self._service.inputs(served)),
            (response.outputs, self._service.outputs()),
        ):
            for info in infos:
                tensors.add(name=info.name, datatype=info.datatype, shape=info.shape)
        return response

    async def ModelInfer(self, request, context):
        try:
            with self._service.counted("grpc"):
                served = self._service.served(request.model_name, request.model_version)
                byte_count = request.ByteSize()
                with self._service.admitted_body() as take:
                    take(byte_count)
                    response = await self._service.infer(read_request, request, byte_count, served)
        except RequestError as error:
            await _abort(context, error)
        return write_response(self.messages, response, raw=bool(request.raw_input_contents))

    async def _served(self, name, version, context):
        try:
            return self._service.served(name, version)
        except RequestError as error:
            return await _abort(context, error)


async def _abort(context, error):
    """End a call with the status of an error; raises what gRPC takes for that."""
    details = str(error).encode("ascii", "backslashreplace").decode()[:LONGEST_DETAILS]
    await context.abort(getattr(grpc.StatusCode, error.grpc_status), details)
