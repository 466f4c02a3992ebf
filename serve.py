# SPDX-License-Identifier: Apache-2.0
"""Serve a model package by the Open Inference Protocol: python serve.py --model_path=./model --port=8080"""

from src.distributed.entry_point import enter

if __name__ == "__main__":
    enter()

import dataclasses
import logging
import os
import sys
from collections.abc import Sequence

from src.common.errors import UserError, run_main
from src.common.options import load_options, option

DESCRIPTION = "Serve a model package by the Open Inference Protocol (KServe v2), REST and gRPC."
LARGEST_PORT = 65_535
MOST_MB = 1000  # gRPC counts in 32 bits


@dataclasses.dataclass(frozen=True)
class ServeOptions:
    """The flags of serve.py."""

    model_path: str = option("folder of the model package; a package that takes its place is served from then on")
    host: str = option("address to listen on; 0.0.0.0 for all of the machine's", "127.0.0.1")
    port: int = option("HTTP port; 0 for a free one", 8080, at_least=0, at_most=LARGEST_PORT)
    grpc_port: int = option("gRPC port; 0 for a free one", 8081, at_least=0, at_most=LARGEST_PORT)
    max_body_mb: float = option("largest request body in MB; more gets a 413", 8.0, more_than=0, at_most=MOST_MB)
    max_rows_in_flight: int = option("rows of all requests in progress; more get a 503", 20_000, at_least=1)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until a signal comes; argv: flags, those of the command line if None."""
    options = load_options(ServeOptions, argv, DESCRIPTION)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # of its messages in C++; all errors arrive as exceptions, too
    try:
        from src.serving.server import serve  # here, as it takes a second, and after mistakes in flags
    except ModuleNotFoundError as error:
        raise UserError(f"serve.py needs {error.name}; pip install -r requirements-serve.txt") from error
    serve(**dataclasses.asdict(options))


if __name__ == "__main__":
    run_main(main)
