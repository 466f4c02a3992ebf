# SPDX-License-Identifier: Apache-2.0
"""The tasks that read a piece of a raw file."""

import pathlib

import polars as pl

from src.preprocessing import sizes
from src.preprocessing.boundaries import count_times
from src.preprocessing.cluster.plan import Layout, Plan
from src.preprocessing.cluster.run_files import row_bytes, write_run
from src.preprocessing.cluster.tally_files import save_counts
from src.preprocessing.cluster.task import task
from src.preprocessing.lists import counted_values
from src.preprocessing.pieces import Piece, count_piece_rows, read_piece
from src.preprocessing.raw_columns import concat
from src.preprocessing.reading import RowSummary, parse_rows
from src.preprocessing.schema import KEY

RUN_FRACTION = 1 / 16  # of the memory limit, in bytes of text; sorting takes several times as much
TEXT_BYTES = 1.4  # as text, Criteo's rows have so many bytes for each of a run
COUNTS_SUFFIX = ".counts"
TIMES_NAME = "times.arrow"


@task
def count_piece(plan: Plan, folder: pathlib.Path, piece: Piece) -> int:
    """Return the number of rows of a piece."""
    return count_piece_rows(piece, plan.schema)


@task
def count_piece_times(plan: Plan, folder: pathlib.Path, piece: Piece) -> int:
    """Write the times of the rows of a piece, and how many have each; return the number of its rows."""
    limit = plan.memory_limit
    times = count_times(piece, plan.schema, sizes.chunk_bytes(limit), sizes.count_batch(limit))
    with open(folder / TIMES_NAME, "wb") as file:  # polars expands ~ and * in a path
        times.write_ipc(file)
    return count_piece_rows(piece, plan.schema)


@task
def parse_piece(
    plan: Plan, folder: pathlib.Path, layout: Layout, piece: Piece, first_row: int, first_line: int
) -> dict:
    """Write the rows of a piece as sorted runs, and the counts of their values; return ChunkStats and runs as dicts.

    first_row, first_line: as read_piece takes them.
    """
    run_rows = run_size(plan.memory_limit) / (TEXT_BYTES * row_bytes(plan.schema))
    rows, runs = RowSummary(), list[dict]()
    waiting, waiting_rows = list[pl.DataFrame](), 0
    for chunk in read_piece(piece, plan.schema, sizes.chunk_bytes(plan.memory_limit), first_row, first_line):
        frame, stats = parse_rows(chunk, plan.splits)
        rows.add(stats)
        waiting.append(frame)
        waiting_rows += frame.height
        if waiting_rows >= run_rows:
            runs += _write_run(plan, layout, folder / f"run-{len(runs)}", waiting)
            waiting, waiting_rows = [], 0
    runs += _write_run(plan, layout, folder / f"run-{len(runs)}", waiting)
    return {"stats": rows.to_stats().to_dict(), "runs": runs}


def run_size(memory_limit: float) -> int:
    """Return the bytes of text whose rows make a sorted run.  memory_limit: GiB."""
    return int(memory_limit * sizes.BYTES_PER_GIB * RUN_FRACTION)


def _write_run(plan, layout, path, frames):
    """Write the rows of some chunks, and the counts of their values; return a list with a dict of the run, or none."""
    if not any(frame.height for frame in frames):
        return []
    columns = [concat([frame[name] for frame in frames]) for name in frames[0].columns]
    frames.clear()
    rows = pl.DataFrame(columns).sort(KEY)
    train = rows[plan.splits.split(rows[KEY].to_numpy())["train"]]
    columns = [counted_values(train[name], plan.schema.separators) for name in plan.schema.counted_names]
    save_counts(path.with_name(path.name + COUNTS_SUFFIX), columns, sizes.count_batch(plan.memory_limit))
    wide = write_run(path, rows, layout.ranges(plan.splits), plan.schema)
    return [{"name": path.name, "train_rows": train.height, "wide": wide}]
