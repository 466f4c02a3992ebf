# SPDX-License-Identifier: Apache-2.0
"""A real S3 server, moto's, on the loopback interface, with faults on request."""

import contextlib
import logging
import threading
import time
from collections import Counter

import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEY, SECRET = "the-key", "the-secret"
ERROR = '<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


class S3Server:
    """Its content belongs to the process, so it survives stop() and start().

    rule: called with the method and the path of a request, returns None, "drop", "hold" or a status such as "500 Down".
    requests: the number of requests by (method, path).
    """

    def __init__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._application = DomainDispatcherApplication(create_backend_app)
        self.rule = lambda method, path: None
        self.requests, self.released = Counter(), threading.Event()
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    def start(self):
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def failing(self, rule):
        """Apply a rule within a `with` block."""
        self.rule = rule
        try:
            yield
        finally:
            self.rule = lambda method, path: None
            self.released.set()

    @property
    def environment(self):
        """The environment variables that a client needs."""
        return {
            "OBS_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OBS_ACCESS_KEY_ID": KEY,
            "OBS_SECRET_ACCESS_KEY": SECRET,
        }

    def create_bucket(self, name):
        """Create an empty bucket."""
        self._client().call_s3("create_bucket", Bucket=name)

    def upload_in_parts(self, bucket, key, parts):
        """Upload an object in parts, a list of bytes; all but the last must have 5 MiB."""
        client, target = self._client(), {"Bucket": bucket, "Key": key}
        target["UploadId"] = client.call_s3("create_multipart_upload", **target)["UploadId"]
        tags = []
        for number, part in enumerate(parts, start=1):
            answer = client.call_s3("upload_part", **target, PartNumber=number, Body=part)
            tags.append({"PartNumber": number, "ETag": answer["ETag"]})
        client.call_s3("complete_multipart_upload", **target, MultipartUpload={"Parts": tags})

    def _client(self):
        return s3fs.S3FileSystem(key=KEY, secret=SECRET, endpoint_url=f"http://127.0.0.1:{self.port}")

    def count(self, method, ending):
        """Return the number of requests of a method for paths with an ending."""
        return sum(count for (used, path), count in self.requests.items() if used == method and path.endswith(ending))

    def _answer(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self.requests[method, path] += 1
            fault = self.rule(method, path)
        if f"Credential={KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            fault = "403 InvalidAccessKeyId"
        if fault == "hold":
            self.released.wait(60)
        elif fault == "drop":
            return self._answer_half(environ, start_response)
        elif fault:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            body = b"" if method == "HEAD" else ERROR.format(code=fault.partition(" ")[2]).encode()
            start_response(fault, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        return self._application(environ, start_response)

    def _answer_half(self, environ, start_response):
        body = b"".join(self._application(environ, start_response))
        yield body[: len(body) // 2]
        raise ConnectionError("dropped on request of a test")


def for_a_while(fault, times, method=None, ending=""):
    """Return a rule for a fault in the first `times` requests of a method for paths with an ending."""
    left = [times]

    def rule(used, path):
        if left[0] > 0 and method in (None, used) and path.endswith(ending):
            left[0] -= 1
            return fault
        return None

    return rule


def wait_until(condition, seconds=60):
    """Wait until condition() is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition has not become true"
        time.sleep(0.02)
