# SPDX-License-Identifier: Apache-2.0
"""serve.py as a process in an environment of its own, as a user starts it, and clients of both protocols."""

import dataclasses
import fcntl
import functools
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from tests.conftest import ROOT
from tests.processes import restore_signals

ENVIRONMENT = ROOT / ".venv-serve"
REQUIREMENTS = ROOT / "requirements-serve.txt"
INFER = "/v2/models/deepfm/infer"
SECONDS_TO_START = 60
SECONDS_TO_WAIT = 30


def serving_python():
    """Return the interpreter of .venv-serve, which holds requirements-serve.txt and nothing else."""
    python = ENVIRONMENT / "bin" / "python"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    stamp = ENVIRONMENT / "installed.sha256"
    with ENVIRONMENT.with_name(".venv-serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
            subprocess.run(install, check=True)
            stamp.write_text(wanted)
    return python


@dataclasses.dataclass(frozen=True)
class Response:
    """A response of HTTP."""

    status: int
    headers: dict
    body: bytes

    @property
    def content(self):
        return json.loads(self.body)

    @property
    def probabilities(self):
        assert self.status == 200, self.body
        (output,) = self.content["outputs"]
        assert (output["name"], output["datatype"]) == ("probability", "FP32")
        assert output["shape"] == [len(output["data"]), 1]
        return output["data"]


class Server:
    """A running server; use it in a `with` block."""

    def __init__(self, model_path, log_path, *flags):
        """Start the server of a package, on free ports."""
        command = [serving_python(), ROOT / "serve.py", f"--model_path={model_path}", "--port=0", "--grpc_port=0"]
        self._start([*command, *flags], ROOT, log_path)

    @classmethod
    def run(cls, command, folder, log_path):
        """Start the server by any command."""
        server = cls.__new__(cls)
        server._start(command, folder, log_path)
        return server

    def _start(self, command, folder, log_path):
        self.log_path = pathlib.Path(log_path)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=folder, env=_environment(), start_new_session=True,
                preexec_fn=restore_signals,  # noqa: PLW1509
            )  # fmt: skip
        first = self.wait_for_line(r"serving deepfm, version (\w+): http://127.0.0.1:(\d+), gRPC 127.0.0.1:(\d+)")
        self.version, self.port, self.grpc_port = first[1], int(first[2]), int(first[3])

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_for_line(self, pattern):
        """Return the match of a pattern in the log."""
        end = time.monotonic() + SECONDS_TO_START
        while not (match := re.search(pattern, self.log)):
            assert self.process.poll() is None and time.monotonic() < end, self.log
            time.sleep(0.02)
        return match

    def request(self, method, path, body=None, headers=()):
        """Return the Response to a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return Response(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def infer(self, *inputs, **others):
        """Return the Response to an inference request with these inputs."""
        return self.request("POST", INFER, json.dumps({"inputs": inputs, **others}))

    def metric(self, text):
        """Return the value of a metric, whose labels are part of the text; 0 if it does not exist yet."""
        found = re.search(rf"^deepfm_{re.escape(text)} (\S+)$", self.get("/metrics").body.decode(), re.M)
        return float(found[1]) if found else 0.0

    @property
    def largest_memory(self):
        """The largest resident memory that the process has had, bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)[1])

    def stop(self):
        """Send SIGTERM."""
        os.kill(self.process.pid, signal.SIGTERM)


def wait_until(condition):
    """Wait until a condition holds; fail after SECONDS_TO_WAIT."""
    end = time.monotonic() + SECONDS_TO_WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _environment():
    """Return the environment of this process without what MindSpore has added for itself: slow protobuf."""
    return {name: value for name, value in os.environ.items() if name != "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"}


class GrpcClient:
    """A client that is built from the protocol's own description of its messages."""

    def __init__(self, server):
        import grpc
        from google.protobuf import message_factory

        self._methods = _protocol().FindServiceByName("inference.GRPCInferenceService").methods_by_name
        self._class_of = message_factory.GetMessageClass
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", _NO_LIMITS)

    def message(self, rpc, **fields):
        """Return the request of an rpc."""
        return self._class_of(self._methods[rpc].input_type)(**fields)

    def rpc(self, rpc):
        """Return the function that calls an rpc with its request."""
        method = self._methods[rpc]
        return self.channel.unary_unary(
            f"/inference.GRPCInferenceService/{rpc}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=self._class_of(method.output_type).FromString,
        )

    def call(self, rpc, **fields):
        """Return the response to an rpc."""
        return self.rpc(rpc)(self.message(rpc, **fields), timeout=30)


_NO_LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@functools.cache
def _protocol():
    """Return the descriptors of the protocol, as its compiler makes them."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    proto = "open_inference_grpc.proto"
    command = [serving_python(), "-m", "grpc_tools.protoc", f"-I{ROOT / 'src' / 'serving'}", proto]
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run([*command, f"--descriptor_set_out={file.name}"], check=True)
        described = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(file.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for each in described.file:
        pool.Add(each)
    return pool
