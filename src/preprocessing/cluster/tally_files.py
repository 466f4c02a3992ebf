# SPDX-License-Identifier: Apache-2.0
"""The counts of the values of columns on disk, divided by a hash of the value: each partition is added up alone."""

import pathlib
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from src.preprocessing.cluster.blob_file import FrameFile, write_frames
from src.preprocessing.value_counts import VALUE, Tally, add_tallies

TYPES = (pl.Int64, pl.UInt32, pl.String)
PARTITION = "partition"


def save_tallies(path: pathlib.Path, tallies: Iterable[tuple[str, Tally]], partitions: int) -> None:
    """Write the Tally of each column, divided; only one at a time is taken from the iterable."""
    write_frames(
        path,
        (
            (_name(column, dtype, number), part)
            for column, tally in tallies
            for dtype, counts in tally.items()
            for number, part in _divide(counts, partitions)
        ),
    )


def add_files(path: pathlib.Path, inputs: Sequence[pathlib.Path], column: str, partitions: int) -> None:
    """Write the sum of the Tally of a column over some files to another one, partition by partition."""
    files = [FrameFile(path) for path in inputs]
    write_frames(
        path,
        (
            (_name(column, dtype, number), counts)
            for number in range(partitions)
            for dtype, counts in add_partition(files, column, number).items()
        ),
    )


def add_partition(files: Iterable[FrameFile], column: str, partition: int) -> Tally:
    """Return the sum of a partition of the Tally of a column over some files; without a value it is empty."""
    dtypes = {_name(column, dtype, partition): dtype for dtype in TYPES}
    return add_tallies({dtypes[name]: counts for name, counts in file.read(dtypes).items()} for file in files)


def _divide(counts: pl.DataFrame, partitions: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the number and the rows of each partition that has any."""
    if partitions == 1:
        yield 0, counts
        return
    numbered = counts.with_columns((pl.col(VALUE).hash() % partitions).alias(PARTITION))
    for (number,), part in numbered.partition_by(PARTITION, include_key=False, as_dict=True).items():
        yield number, part


def _name(column: str, dtype: pl.DataType, partition: int) -> str:
    return f"{column}/{dtype}/{partition}"
