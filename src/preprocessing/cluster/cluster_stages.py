# SPDX-License-Identifier: Apache-2.0
"""The stages of preprocessing on a cluster: workers do the work, piece by piece; the client plans and adds up."""

import dataclasses
import io
import itertools
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import polars as pl

from src.common.progress import Progress
from src.dataset_meta import SPLITS, VOCABULARY_NAME, ShardFile, SplitMeta
from src.preprocessing import sizes
from src.preprocessing.boundaries import add_times
from src.preprocessing.cluster.connection import Connection
from src.preprocessing.cluster.count_tasks import FREQUENT_NAME, SUM_NAME, add_counts, count_column
from src.preprocessing.cluster.encoder_files import digest_of_encoder, save_encoder
from src.preprocessing.cluster.plan import DIGEST_DIGITS, PARSED, Layout, Plan
from src.preprocessing.cluster.results import files_of, find_results, take_files
from src.preprocessing.cluster.row_tasks import (
    COUNTS_SUFFIX,
    TIMES_NAME,
    count_piece,
    count_piece_times,
    parse_piece,
    run_size,
)
from src.preprocessing.cluster.run_files import Run
from src.preprocessing.cluster.shard_tasks import (
    FIRST_ROWS_NAME,
    ROW_COUNTS_NAME,
    RunIndex,
    add_test_ids,
    index_runs,
    read_test_ids,
    write_shard,
)
from src.preprocessing.cluster.storage import is_address, storage_at
from src.preprocessing.cluster.versions import own_versions
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.pieces import Piece, cut
from src.preprocessing.reading import ChunkStats, RowSummary, check_is_hopeful, check_lines
from src.preprocessing.result_folder import check_path_length
from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import schema_of_file
from src.preprocessing.stages import Job, WrittenSplits
from src.preprocessing.value_counts import ValueCounts, concat_counts

Item = TypeVar("Item")
FORMAT_VERSION = 2  # of the files in the folder of parsed rows
CUT_NAME, SHARDS = "cut.json", "shards"
PIECES_PER_THREAD = 8  # so that all threads end at about the same time
LONGEST_SHARD = f"{SHARDS}-{'0' * DIGEST_DIGITS}-100000/train-100000/{'0' * len(uuid.uuid4().hex)}"
FAN_IN = 64  # files that a task adds up


class ClusterStages:
    """The Stages of a job on the workers of a Connection, by files in a storage that all of them share."""

    def __init__(self, job: Job, connection: Connection):
        print(f"cluster: {connection.describe()}", flush=True)
        self._job, self._connection = job, connection
        address = job.spill if is_address(job.spill) else os.path.abspath(job.spill)
        self._storage = storage_at(address)
        if not is_address(address):
            check_path_length(pathlib.Path(address, LONGEST_SHARD))
        self._pieces = self._cut()
        self._plan = Plan(
            address, job.schema, job.splits, own_versions(), job.memory_limit, job.rows_per_record,
            sizes.shard_records(job.rows_per_record),
        )  # fmt: skip
        self._plan_name = self._plan.save()
        self._layout = Layout(1, 0)  # read() finds it
        self._runs: list[Run] = []  # likewise, in the order of the lines

    def _cut(self) -> list[Piece]:
        """Return the pieces of the file: those of an earlier run with the same identity, whose results are kept."""
        identity = {"format_version": FORMAT_VERSION, **self._job.identity}
        own = self._job.source
        source = dataclasses.replace(own, files=tuple(file.absolute() for file in own.files))
        (content,) = self._storage.read_existing([CUT_NAME])
        if content is not None and (stored := json.loads(content))["identity"] == identity:
            return [Piece(*piece) for piece in stored["pieces"]]
        self._storage.remove()
        piece_bytes = source.text_bytes / (PIECES_PER_THREAD * self._connection.threads)
        piece_bytes = max(min(piece_bytes, run_size(self._job.memory_limit)), sizes.LEAST_CHUNK_BYTES)
        pieces = cut(source, piece_bytes)
        stored = {"identity": identity, "pieces": [dataclasses.astuple(piece) for piece in pieces]}
        self._storage.write(CUT_NAME, json.dumps(stored).encode())
        return pieces

    def read(self) -> RowSummary:
        """Parse the rows that have not been parsed yet; UserError if the file is empty or has too many bad ones."""
        line_counts = self._count_rows()
        self._layout = Layout.of(sum(line_counts), self._job.memory_limit)
        self._remove_others(PARSED, self._layout.folder)
        return self._parse(line_counts)

    def _count_rows(self) -> list[int]:
        """Return the number of rows of each piece; the plan gets the boundaries of a split by time."""
        job = self._job
        by_time = job.time_split is not None and job.schema.time_name is not None
        targets = [f"{'times' if by_time else 'lines'}/{number:06d}" for number in range(len(self._pieces))]
        progress = _Work("lines", "pieces", [1] * len(targets), leave=False)
        count = count_piece_times if by_time else count_piece
        line_counts = self._run(count, targets, [(piece,) for piece in self._pieces], progress)
        if job.time_split is None:
            return line_counts
        ratios = job.time_split.valid_ratio, job.time_split.test_ratio
        divided = [number for number, piece in enumerate(self._pieces) if piece.file_split == 0]
        if by_time:
            files = (self._storage.read(f"{files_of(targets[number])}/{TIMES_NAME}") for number in divided)
            splits = job.splits.by_time(add_times(map(pl.read_ipc, files)), *ratios)
        else:
            splits = job.splits.by_row(sum(line_counts[number] for number in divided), *ratios)
        self._plan = dataclasses.replace(self._plan, splits=splits)
        self._plan_name = self._plan.save()
        return line_counts

    def _parse(self, line_counts: list[int]) -> RowSummary:
        """Parse the pieces, of which the numbers of lines are known; return the RowSummary."""
        job, rows, waiting = self._job, RowSummary(), dict[int, dict]()

        def take(number, result):
            """Add up the results in the order of the pieces, in which they do not always come."""
            waiting[number] = result
            while (following := waiting.pop(len(rows.train_rows), None)) is not None:
                rows.add(ChunkStats.from_dict(following["stats"]))
                check_is_hopeful(job.source, rows, job.schema, job.max_bad_line_ratio, sum(line_counts))

        targets = [f"{self._layout.folder}/{number:06d}" for number in range(len(self._pieces))]
        firsts = _first_numbers(self._pieces, line_counts, job.schema)
        calls = [(self._layout, piece, *numbers) for piece, numbers in zip(self._pieces, firsts)]
        parsed = self._run(parse_piece, targets, calls, _Work("read", "rows", line_counts), take)
        rows.is_complete = True
        check_lines(job.source, rows, job.schema, job.max_bad_line_ratio)
        for target, result in zip(targets, parsed):
            self._runs += [
                Run(f"{files_of(target)}/{run['name']}", run["train_rows"], run["wide"]) for run in result["runs"]
            ]
        return rows

    def count(self, rows: RowSummary) -> dict[str, ValueCounts]:
        """Return the ValueCounts of the training set by column."""
        names, folder = self._job.schema.counted_names, self._layout.folder
        inputs, partitions = self._add_up(names)
        parts = list(itertools.product(names, range(partitions)))
        prefix = f"{folder}/counts-{self._job.threshold}-{partitions}"
        targets = [f"{prefix}/{names.index(name)}-{partition}" for name, partition in parts]
        calls = [(inputs[name], name, partition, self._job.threshold_of(name)) for name, partition in parts]
        unit = "fields" if partitions == 1 else "parts of fields"
        results = self._run(count_column, targets, calls, _Work("count", unit, [1] * len(parts)))
        counts = {}
        for name, group in itertools.groupby(zip(parts, targets, results), key=lambda part: part[0][0]):
            _, parts_of_name, sums = zip(*group)
            distinct, missing, total = map(sum, zip(*sums))
            frequent = [
                pl.read_ipc(self._storage.read(f"{files_of(target)}/{FREQUENT_NAME}"))
                for target, numbers in zip(parts_of_name, sums)
                if any(numbers)
            ]
            counts[name] = ValueCounts(concat_counts(frequent), distinct, missing, total)
        return counts

    def _add_up(self, names: Sequence[str]) -> tuple[dict[str, list[str]], int]:
        """Add up the counts of all runs until few files are left; return those of each column and their partitions."""
        groups = [[run.path + COUNTS_SUFFIX for run in group] for group in self._run_groups()]
        if len(groups) == 1:
            return dict.fromkeys(names, groups[0]), 1
        partitions, level = self._layout.partitions, 0
        sums = self._add_groups(level, dict.fromkeys(names, groups), 1)
        while max(map(len, sums.values()), default=0) > FAN_IN:
            level += 1
            sums = self._add_groups(level, {name: _batches(paths, FAN_IN) for name, paths in sums.items()}, partitions)
        return sums, partitions

    def _run_groups(self) -> Iterator[list[Run]]:
        """Yield the runs in groups, of which each has values of a column that can be counted at once."""
        group: list[Run] = []
        rows = 0
        for run in self._runs:
            if group and (len(group) == FAN_IN or rows + run.train_rows > sizes.count_batch(self._job.memory_limit)):
                yield group
                group, rows = [], 0
            group.append(run)
            rows += run.train_rows
        yield group

    def _add_groups(
        self, level: int, groups: dict[str, list[list[str]]], input_partitions: int
    ) -> dict[str, list[str]]:
        """Add up the counts of each column by groups of files; return the files of the sums."""
        parts = [(name, number, paths) for name in groups for number, paths in enumerate(groups[name])]
        partitions = self._layout.partitions
        prefix = f"{self._layout.folder}/sums-{partitions}-{level}"
        columns = list(groups)  # by their numbers, as a name may have any character
        targets = [f"{prefix}/{columns.index(name)}-{number}" for name, number, _ in parts]
        calls = [(paths, name, input_partitions, partitions) for name, _, paths in parts]
        self._run(add_counts, targets, calls, _Work("sums", "sums", [1] * len(parts), leave=False))
        sums: dict[str, list[str]] = {name: [] for name in groups}
        for target, (name, _, _) in zip(targets, parts):
            sums[name].append(f"{files_of(target)}/{SUM_NAME}")
        return sums

    def write(self, encoder: FeatureEncoder, rows: RowSummary, folder: pathlib.Path) -> WrittenSplits:
        """Encode all rows and write the shards into a folder, in which the vocabulary is already."""
        plan = self._plan
        digest = digest_of_encoder(encoder, folder / VOCABULARY_NAME)
        shards_folder = f"{SHARDS}-{digest}-{plan.rows_per_record}"
        self._remove_others(SHARDS, shards_folder)
        save_encoder(encoder, folder / VOCABULARY_NAME, self._storage, shards_folder)
        index_name, row_counts = self._index_runs(shards_folder)
        ranges = self._layout.ranges(plan.splits)
        # The largest first, so that all workers end at about the same time; those of a split stay in their order.
        shard_rows = plan.shard_records * plan.rows_per_record
        shards = sorted(ranges.shards(row_counts, shard_rows), key=lambda shard: -shard.count)
        targets = [f"{shards_folder}/{shard.split}-{shard.number}" for shard in shards]
        calls = [(shards_folder, index_name, rows.largest_id + 1, shard) for shard in shards]
        results = self._run(write_shard, targets, calls, _Work("write", "rows", [shard.count for shard in shards]))
        test_targets = [target for target, shard in zip(targets, shards) if shard.split == "test"]
        test_counts = self._add_test_ids(shards_folder, test_targets, len(encoder.vocabulary))
        metas = {split: SplitMeta(0, 0, 0, 0, ()) for split in SPLITS}
        for shard, target, result in zip(shards, targets, results):
            meta = SplitMeta(**{**result, "files": tuple(ShardFile(**file) for file in result["files"])})
            names = [file.name + suffix for file in meta.files for suffix in ("", ".db")]
            take_files(self._storage, target, names, folder)
            metas[shard.split] = metas[shard.split].with_part(meta)
        return WrittenSplits(metas, test_counts)

    def _index_runs(self, folder: str) -> tuple[str, np.ndarray]:
        """Write the RunIndex; return its name, and the number of rows in each range of keys."""
        groups = _batches(self._runs, FAN_IN)
        targets = [f"{self._layout.folder}/ranges/{number}" for number in range(len(groups))]
        calls = [([run.path for run in group],) for group in groups]
        self._run(index_runs, targets, calls, _Work("index", "files", [1] * len(groups), leave=False))
        index = RunIndex(tuple(self._runs), tuple(f"{files_of(target)}/{FIRST_ROWS_NAME}" for target in targets))
        row_counts = [self._storage.read(f"{files_of(target)}/{ROW_COUNTS_NAME}") for target in targets]
        return index.save(self._storage, folder), sum(np.load(io.BytesIO(content)) for content in row_counts)

    def _add_test_ids(self, folder: str, shards: list[str], count: int) -> np.ndarray:
        """Return the number of times that each of `count` ids occurs in the shards of the test set."""
        if not shards:
            return np.zeros(count, np.int64)
        target = f"{folder}/test_ids"
        self._run(add_test_ids, [target], [(shards,)], _Work("ids", "sums", [1], leave=False))
        return read_test_ids(self._storage, target)

    def _run(
        self,
        function: Callable[..., Any],
        targets: Sequence[str],
        calls: Sequence[tuple],
        work: "_Work",
        take: Callable[[int, Any], None] = lambda index, result: None,
    ) -> list[Any]:
        """Return the results of a task for each target with its parameters; those that are complete are only read.

        take: gets the index and the result of each as soon as it is there.
        """
        results = find_results(self._storage, targets)
        pending = [index for index, result in enumerate(results) if result is None]
        progress = work.progress(pending)
        for index, result in enumerate(results):
            if result is not None:
                take(index, result)

        def done(number, result):
            index = pending[number]
            results[index] = result
            progress.advance(work.sizes[index])
            take(index, result)

        plan = self._plan.address, self._plan_name
        self._connection.run(function, [(*plan, targets[index], *calls[index]) for index in pending], done)
        progress.close()
        return results

    def _remove_others(self, prefix: str, name: str) -> None:
        """Remove the folders with this prefix and another name: results for other settings."""
        for other in self._storage.names():
            if other.startswith(f"{prefix}-") and other != name:
                self._storage.remove(other)


@dataclasses.dataclass(frozen=True)
class _Work:
    """The progress of a number of tasks; sizes: the units of work in each."""

    title: str
    unit: str
    sizes: list[int]
    leave: bool = True

    def progress(self, pending: list[int]) -> Progress:
        """Return the Progress if the tasks of these indices are left to be done."""
        total = sum(self.sizes)
        return Progress(
            self.title, total, self.unit, leave=self.leave, done=total - sum(self.sizes[index] for index in pending)
        )


def _first_numbers(pieces: list[Piece], row_counts: list[int], schema: FieldSchema) -> Iterator[tuple[int, int]]:
    """Yield for each piece the number of its first row, from 0, and that of its first line in its file, from 1."""
    first_row = 0
    for file, group in itertools.groupby(zip(pieces, row_counts), key=lambda item: item[0].file):
        first_line = 2 if schema_of_file(schema, file).text.has_header else 1
        for _, count in group:
            yield first_row, first_line
            first_row += count
            first_line += count


def _batches(items: list[Item], size: int) -> list[list[Item]]:
    """Return the items in lists of `size`, the last one of which may be shorter."""
    return [items[start : start + size] for start in range(0, len(items), size)]
