# SPDX-License-Identifier: Apache-2.0
"""The ways in which the integers of a raw row enter the network: the values of --dense_encoding."""

import enum


class DenseEncoding(str, enum.Enum):
    """A member is also the text that flags and JSON files have for it.

    A dense value is an integer divided by the largest magnitude (MAX) or its standardised log1p (LOG, LOG_BUCKET); a
    bucket is a sparse field made of an integer.
    """

    MAX = "max"
    LOG = "log"
    BUCKET = "bucket"
    LOG_BUCKET = "log+bucket"

    @property
    def has_dense_values(self) -> bool:
        """Whether each integer becomes a dense value."""
        return self is not DenseEncoding.BUCKET

    @property
    def has_buckets(self) -> bool:
        """Whether each integer becomes a bucket."""
        return self in (DenseEncoding.BUCKET, DenseEncoding.LOG_BUCKET)

    def __str__(self):
        return self.value
