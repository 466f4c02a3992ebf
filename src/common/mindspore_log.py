# SPDX-License-Identifier: Apache-2.0
"""MindSpore's Python log."""

import contextlib
import logging
import os


@contextlib.contextmanager
def muted(words):
    """Keep the log from showing messages with these words."""
    logger = logging.getLogger(f"ME.mindspore.log.{os.getpid()}")

    def without_words(record):
        return words not in record.getMessage()

    logger.addFilter(without_words)
    try:
        yield
    finally:
        logger.removeFilter(without_words)
