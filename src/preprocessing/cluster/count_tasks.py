# SPDX-License-Identifier: Apache-2.0
"""The tasks that add up the counts of values: a tree over the files of the sorted runs, column by column."""

import pathlib

from src.preprocessing import sizes
from src.preprocessing.cluster.blob_file import FrameFile
from src.preprocessing.cluster.plan import Plan
from src.preprocessing.cluster.tally_files import add_files, add_partition
from src.preprocessing.cluster.task import task
from src.preprocessing.value_counts import summarize

SUM_NAME, FREQUENT_NAME = "sum.counts", "frequent.arrow"


@task
def add_counts(
    plan: Plan, folder: pathlib.Path, inputs: list[str], column: str, input_partitions: int, partitions: int
) -> int:
    """Write the sum of the counts of a column over some files; return the number of the files."""
    files, batch = [FrameFile(plan.storage, name) for name in inputs], sizes.count_batch(plan.memory_limit)
    add_files(folder / SUM_NAME, files, column, input_partitions, partitions, batch)
    return len(inputs)


@task
def count_column(
    plan: Plan, folder: pathlib.Path, inputs: list[str], column: str, partition: int, threshold: int
) -> list[int]:
    """Write the frequent values in a partition of a column; return the numbers of distinct, missing and all values.

    There is no file for a partition without a value.
    """
    files = [FrameFile(plan.storage, name) for name in inputs]
    counts = add_partition(files, column, partition, sizes.count_batch(plan.memory_limit))
    if not counts:
        return [0, 0, 0]
    summary = summarize(counts, threshold)
    with open(folder / FREQUENT_NAME, "wb") as file:  # polars expands ~ and * in a path
        summary.frequent.write_ipc(file)
    return [summary.distinct, summary.missing, summary.total]
