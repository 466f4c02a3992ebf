# SPDX-License-Identifier: Apache-2.0
import pytest

from src.preprocessing.sizes import bucket_bits, chunk_bytes, count_batch
from src.preprocessing.source import Source

GIB = 2**30


@pytest.mark.parametrize(
    ("memory_limit", "expected"), [(0.0001, 64 * 2**10), (0.01, 0.01 * GIB / 32), (0.5, 16 * 2**20), (64, 24 * 2**20)]
)
def test_a_chunk_is_a_small_fraction_of_the_memory_within_limits(memory_limit, expected):
    assert chunk_bytes(memory_limit) == int(expected)


def test_the_values_that_are_counted_at_once_fit_the_memory():
    assert count_batch(0.5) * 64 == 0.5 * GIB
    assert count_batch(1000) == 2**31  # polars numbers rows in 32 bits


@pytest.mark.parametrize(
    ("name", "size", "rows", "memory_limit", "bits"),
    [
        ("train.txt", 1000, 1000, 4, 0),
        ("train.txt", 1000, 2**20, 4, 2),  # 2^18 rows are encoded at once
        ("train.txt", 1000, 2**40, 4, 7),  # not more for the cache alone
        ("train.txt", 2**20, 1000, 8 / 2**12, 2),  # a quarter of 1 MiB is an eighth of the memory
        ("train.txt.gz", 2**20, 1000, 8 / 2**12, 4),  # 2.4 MiB of text
        ("train.txt", 2**20, 1000, 1e-6, 10),
    ],
)
def test_a_bucket_fits_the_memory_and_a_column_of_it_the_cache(tmp_path, name, size, rows, memory_limit, bits):
    with open(tmp_path / name, "wb") as file:
        file.truncate(size)
    assert bucket_bits(Source.find(str(tmp_path)).text_bytes, rows, memory_limit) == bits
