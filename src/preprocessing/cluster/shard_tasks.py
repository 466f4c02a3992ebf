# SPDX-License-Identifier: Apache-2.0
"""The tasks that write the shards of MindRecord: each collects its rows, by their keys, from all sorted runs."""

import dataclasses
import functools
import io
import json
import pathlib
from collections.abc import Iterator

import numpy as np
import polars as pl

from src.preprocessing import sizes
from src.preprocessing.cluster.array_files import read_rows
from src.preprocessing.cluster.encoder_files import load_encoder
from src.preprocessing.cluster.key_ranges import ShardRows, portions
from src.preprocessing.cluster.plan import Plan, digest_of
from src.preprocessing.cluster.results import files_of
from src.preprocessing.cluster.run_files import Run, read_first_rows, read_ranges, row_bytes
from src.preprocessing.cluster.storage import Storage
from src.preprocessing.cluster.task import task
from src.preprocessing.field_report import IdCounter
from src.preprocessing.schema import KEY
from src.preprocessing.writing import add_ids, encode_rows

LEAST_READ_BYTES = 1 << 16  # on the average; smaller requests to a storage are no faster
FIRST_ROWS_NAME, ROW_COUNTS_NAME, TEST_IDS_NAME = "first_rows.npy", "row_counts.npy", "test_ids.npy"


@dataclasses.dataclass(frozen=True)
class RunIndex:
    """All sorted runs of a job, and the files with their first rows by range of keys, in the same order of the runs."""

    runs: tuple[Run, ...]
    first_rows_names: tuple[str, ...]

    def save(self, storage: Storage, folder: str) -> str:
        """Write the index to a file of `folder`, whose name depends on its content; return the name."""
        content = json.dumps(dataclasses.asdict(self))
        name = f"{folder}/runs-{digest_of(content)}.json"
        storage.write(name, content.encode())
        return name

    @classmethod
    @functools.lru_cache(maxsize=1)
    def load(cls, storage: Storage, name: str) -> "RunIndex":
        """Return the index in a file."""
        content = json.loads(storage.read(name))
        return cls(tuple(Run(**run) for run in content["runs"]), tuple(content["first_rows_names"]))

    def first_rows(self, storage: Storage, first_range: int, end_range: int) -> np.ndarray:
        """Return the first rows of some ranges, and of the one after them, uint32 [ranges + 1, runs]."""
        return np.concatenate(read_rows(storage, self.first_rows_names, first_range, end_range + 1), axis=1)


@task
def index_runs(plan: Plan, folder: pathlib.Path, runs: list[str]) -> int:
    """Write the first rows of some runs as one array, range by range, and the rows in each range; return all rows."""
    first_rows = np.stack([read_first_rows(plan.storage, run) for run in runs], axis=1)
    row_counts = _row_counts(first_rows)
    np.save(folder / FIRST_ROWS_NAME, first_rows)
    np.save(folder / ROW_COUNTS_NAME, row_counts)
    return int(row_counts.sum())


@task
def write_shard(
    plan: Plan, folder: pathlib.Path, encoder_folder: str, index_name: str, first_id: int, shard: ShardRows
) -> dict:
    """Write a shard; return the SplitMeta of its rows as a dict.

    encoder_folder: of the encoder.  index_name: of the RunIndex.  first_id: of the vocabulary.
    """
    # MindSpore takes seconds to import, and is of use only here.
    from src.preprocessing.record_writer import SplitWriter

    encoder = load_encoder(plan.storage, encoder_folder, plan.schema)
    index = RunIndex.load(plan.storage, index_name)
    test_ids = IdCounter(first_id, len(encoder.vocabulary))
    writer = SplitWriter(
        folder,
        shard.split,
        plan.rows_per_record,
        tuple(encoder.list_lengths.values()),
        shard_records=plan.shard_records,
        first_shard=shard.number,
    )
    for rows in _sorted_rows(plan, index, shard):
        columns = encode_rows(rows, encoder).columns
        writer.add(columns)
        if shard.split == "test":
            add_ids(test_ids, columns)
    if shard.split == "test":
        np.save(folder / TEST_IDS_NAME, test_ids.counts)
    return dataclasses.asdict(writer.finish())


@task
def add_test_ids(plan: Plan, folder: pathlib.Path, shards: list[str]) -> int:
    """Write the number of times that each id occurs in some shards of the test set; return the number of the shards."""
    np.save(folder / TEST_IDS_NAME, sum(read_test_ids(plan.storage, shard) for shard in shards))
    return len(shards)


def read_test_ids(storage: Storage, target: str) -> np.ndarray:
    """Return the number of times that each id occurs in what the task of a folder has counted, int64 [ids]."""
    return np.load(io.BytesIO(storage.read(f"{files_of(target)}/{TEST_IDS_NAME}")))


def _sorted_rows(plan: Plan, index: RunIndex, shard: ShardRows) -> Iterator[pl.DataFrame]:
    """Yield the rows of a shard in the order of their keys, ENCODED_ROWS at a time or fewer."""
    first_rows = index.first_rows(plan.storage, shard.first_range, shard.end_range)
    start = shard.skip
    end = shard.skip + shard.count
    for part in portions(_row_counts(first_rows), _most_rows(plan, len(index.runs))):
        first_range, end_range = shard.first_range + part.start, shard.first_range + part.stop
        part_rows = first_rows[part.start : part.stop + 1]
        rows = read_ranges(plan.storage, index.runs, part_rows, first_range, end_range, plan.schema)
        yield from rows.sort(KEY)[max(start, 0) : max(end, 0)].iter_slices(sizes.ENCODED_ROWS)
        start, end = start - rows.height, end - rows.height


def _most_rows(plan: Plan, run_count: int) -> int:
    """Return the number of rows to sort at once: as many as sort fast, but no tiny part of each of many runs."""
    size = row_bytes(plan.schema)
    memory_rows = int(plan.memory_limit * sizes.BYTES_PER_GIB * sizes.BUCKET_FRACTION / size)
    return min(memory_rows, max(sizes.ENCODED_ROWS, run_count * LEAST_READ_BYTES // size))


def _row_counts(first_rows: np.ndarray) -> np.ndarray:
    """Return the number of rows in each range, int64 [ranges], from their first rows in all runs."""
    return np.diff(first_rows.astype(np.int64), axis=0).sum(axis=1)
