# SPDX-License-Identifier: Apache-2.0
"""MindSpore's Python log."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def muted(words: str) -> Iterator[None]:
    """Hide messages that contain these words within the `with` block."""
    logger = logging.getLogger(f"ME.mindspore.log.{os.getpid()}")

    def without_words(record):
        return words not in record.getMessage()

    logger.addFilter(without_words)
    try:
        yield
    finally:
        logger.removeFilter(without_words)
