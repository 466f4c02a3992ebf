# SPDX-License-Identifier: Apache-2.0
"""Limits of the operating system, for tests of what happens when a resource runs out."""

import contextlib
import resource


@contextlib.contextmanager
def files_of_at_most(byte_count):
    """Let writing fail with EFBIG when a file would get larger than this."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
