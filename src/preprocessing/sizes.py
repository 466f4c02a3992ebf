# SPDX-License-Identifier: Apache-2.0
"""Sizes of the portions in which rows are worked on, from --memory_limit and the size of the file."""

import math

BYTES_PER_GIB = 1 << 30
CHUNK_FRACTION = 1 / 32  # of the memory limit
LEAST_CHUNK_BYTES, LARGEST_CHUNK_BYTES = 1 << 16, 24 << 20  # malloc is slower from 32 << 20 on
BUCKET_FRACTION = 1 / 8  # of the memory limit
MOST_BUCKET_BITS = 10
MOST_CACHE_BITS = 7  # more buckets would only make for small reads
ENCODED_ROWS = 1 << 18  # at once: less memory than a bucket, and enough to outweigh building the lookups
COUNTED_VALUE_BYTES = 64  # of memory for a value that is counted, at most
LARGEST_BATCH = 1 << 31  # values that polars counts at once; it numbers the rows of a frame in 32 bits
SHARD_ROWS = 2_000_000


def chunk_bytes(memory_limit: float) -> int:
    """Return the bytes of text to parse at once.  memory_limit: GiB."""
    return min(max(int(memory_limit * BYTES_PER_GIB * CHUNK_FRACTION), LEAST_CHUNK_BYTES), LARGEST_CHUNK_BYTES)


def count_batch(memory_limit: float) -> int:
    """Return the number of values of a column to count at once.  memory_limit: GiB."""
    return int(min(memory_limit * BYTES_PER_GIB / COUNTED_VALUE_BYTES, LARGEST_BATCH))


def bucket_bits(text_bytes: float, row_count: int, memory_limit: float) -> int:
    """Return the number of leading bits of a key that number the buckets, the rows that are sorted at once.

    text_bytes: of all rows.  memory_limit: GiB.
    A bucket must fit into the memory; sorting is several times faster if a column fits into the processor's cache.
    """
    memory_bits = math.log2(max(text_bytes / (memory_limit * BYTES_PER_GIB * BUCKET_FRACTION), 1))
    cache_bits = min(math.log2(max(row_count / ENCODED_ROWS, 1)), MOST_CACHE_BITS)
    return min(math.ceil(max(memory_bits, cache_bits)), MOST_BUCKET_BITS)


def shard_records(rows_per_record: int) -> int:
    """Return the number of records in a full shard of MindRecord."""
    return max(SHARD_ROWS // rows_per_record, 1)
