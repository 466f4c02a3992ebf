# SPDX-License-Identifier: Apache-2.0
"""Why the server refuses a request, with the status that HTTP and gRPC have for it."""

from http import HTTPStatus

LISTED_ROWS = 20  # malformed rows that an answer names


class RequestError(Exception):
    """A request that cannot be answered; the message names the part of it, the rule and the value, in one line.

    http_status: of the response.  grpc_status: the name of a grpc.StatusCode.
    """

    http_status = HTTPStatus.BAD_REQUEST
    grpc_status = "INVALID_ARGUMENT"


class UnknownModel(RequestError):
    """A model or a version that is not served."""

    http_status = HTTPStatus.NOT_FOUND
    grpc_status = "NOT_FOUND"


class UnsupportedBody(RequestError):
    """A body in an encoding that is not read."""

    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class SlowBody(RequestError):
    """A body that does not arrive in time."""

    http_status = HTTPStatus.REQUEST_TIMEOUT


class RequestTooLarge(RequestError):
    """A request that is refused however idle the server is."""

    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    grpc_status = "RESOURCE_EXHAUSTED"


class Overloaded(RequestError):
    """A request that would have to wait too long; the client may send it again later."""

    http_status = HTTPStatus.SERVICE_UNAVAILABLE
    grpc_status = "UNAVAILABLE"


class MalformedRows(RequestError):
    """A request with malformed rows.

    faults: by row, from 1, in words, of the first LISTED_ROWS of them.  count: of all.  row_count: of the request.
    """

    def __init__(self, faults: dict[int, str], count: int, row_count: int):
        self.faults, self.count = dict(list(faults.items())[:LISTED_ROWS]), count
        more = "; ..." if count > len(self.faults) else ""
        verb = "is" if count == 1 else "are"
        super().__init__(f"{count} of {row_count} rows {verb} malformed: {'; '.join(self.faults.values())}{more}")
