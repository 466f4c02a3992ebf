# SPDX-License-Identifier: Apache-2.0
"""The ways in which the integers of a raw row enter the network: the values of --dense_encoding."""

import enum


class DenseEncoding(str, enum.Enum):
    """A member is also the text that flags and JSON files have for it.

    A dense value is an integer divided by the largest magnitude (MAX) or its standardised log1p (LOG, LOG_BIN,
    LOG_BUCKET); a bin or a bucket is a sparse field made of an integer, see src.preprocessing.buckets.
    """

    MAX = "max"
    LOG = "log"
    BIN = "bin"
    LOG_BIN = "log+bin"
    BUCKET = "bucket"
    LOG_BUCKET = "log+bucket"

    @property
    def has_dense_values(self) -> bool:
        """Whether each integer becomes a dense value."""
        return self not in (DenseEncoding.BIN, DenseEncoding.BUCKET)

    @property
    def has_buckets(self) -> bool:
        """Whether each integer becomes a bin or a bucket."""
        return self.has_bins or self in (DenseEncoding.BUCKET, DenseEncoding.LOG_BUCKET)

    @property
    def has_bins(self) -> bool:
        """Whether each integer becomes a bin."""
        return self in (DenseEncoding.BIN, DenseEncoding.LOG_BIN)

    def __str__(self):
        return self.value
