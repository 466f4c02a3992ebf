# SPDX-License-Identifier: Apache-2.0
"""The counts of the values of columns on disk; sums are divided by a hash of the value, and added up by partition.

A column of codes of which most are different is not counted, but stored as it is, until the files are added up.
"""

import pathlib
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from src.preprocessing.cluster.blob_file import FrameFile, write_frames
from src.preprocessing.value_counts import COUNT, VALUE, Tally, add_tallies, tally

TYPES = (pl.Int64, pl.Float64, pl.UInt32, pl.String)
PARTITION = "partition"
SAMPLE_FRACTION, MOST_DISTINCT = 1 / 8, 1 / 2  # of a column, and of such a sample of it


def save_counts(path: pathlib.Path, columns: Iterable[pl.Series], max_batch: int) -> None:
    """Write the counts of the values of each column, undivided.  max_batch: number of values to count at once."""
    write_frames(
        path,
        (
            (_name(column.name, dtype, 0), counts)
            for column in columns
            for dtype, counts in _count(column, max_batch).items()
        ),
    )


def add_files(
    path: pathlib.Path,
    inputs: Sequence[FrameFile],
    column: str,
    input_partitions: int,
    partitions: int,
    max_batch: int,
) -> None:
    """Write the sum of the counts of a column over some files to another one, one of their partitions at a time.

    input_partitions: of these files, 1 or as many as the sum has.
    """
    write_frames(
        path,
        (
            (_name(column, dtype, number), part)
            for input_number in range(input_partitions)
            for dtype, counts in add_partition(inputs, column, input_number, max_batch).items()
            for number, part in _divide(counts, partitions)
        ),
    )


def add_partition(files: Iterable[FrameFile], column: str, partition: int, max_batch: int) -> Tally:
    """Return the sum of a partition of the counts of a column over some files; without a value it is empty."""
    dtypes = {_name(column, dtype, partition): dtype for dtype in TYPES}
    tallies, values = [], []
    for file in files:
        for name, frame in file.read(dtypes).items():
            if COUNT in frame.columns:
                tallies.append({dtypes[name]: frame})
            else:
                values.append(frame[VALUE])
    return add_tallies([*tallies, tally(values, max_batch)])


def _count(column: pl.Series, max_batch: int) -> Tally:
    """Return the Tally of a column, or its values without their counts."""
    sample = column[: int(len(column) * SAMPLE_FRACTION)]
    if column.dtype == pl.UInt32 and sample.n_unique() > MOST_DISTINCT * len(sample):
        return {pl.UInt32: column.rename(VALUE).to_frame()}
    return tally([column], max_batch)


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
