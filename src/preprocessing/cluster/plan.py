# SPDX-License-Identifier: Apache-2.0
"""What the tasks of a job have in common, in a file of the shared folder, so that no task has to carry it."""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib

from src.common.files import write_text
from src.preprocessing import sizes
from src.preprocessing.cluster.key_ranges import KeyRanges
from src.preprocessing.cluster.results import COMPLETE
from src.preprocessing.schema import FieldSchema
from src.preprocessing.splits import KeySplits

RANGES_PER_SHARD = 16  # at least: a shard reads up to two ranges in part
DIGEST_DIGITS = 16
PARSED = "parsed"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the tasks of a job have in common.

    folder: the shared folder of their files.  versions: of the client; see versions.py.  memory_limit: GiB of a worker.
    """

    folder: str
    schema: FieldSchema
    splits: KeySplits
    versions: dict[str, str]
    memory_limit: float
    rows_per_record: int
    shard_records: int

    def save(self) -> str:
        """Write the plan to a file of its folder, whose name depends on its content; return the path."""
        content = json.dumps(dataclasses.asdict(self))
        path = self.path(f"plan-{digest_of(content)}.json")
        write_text(path, content)
        return str(path)

    @classmethod
    @functools.cache
    def load(cls, path: str) -> "Plan":
        """Return the plan in a file; OSError if this machine does not have it."""
        try:
            content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise OSError(
                f"there is no {path} here: all machines must share the folders of --data_path and --output_dir, under "
                "the same paths"
            ) from None
        schema, splits = FieldSchema(**content.pop("schema")), KeySplits(**content.pop("splits"))
        return cls(schema=schema, splits=splits, **content)

    def path(self, *names: str) -> pathlib.Path:
        """Return the path of a file or folder in the shared folder."""
        return pathlib.Path(self.folder, *names)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The division of the sums of counts by value, into partitions, and of the keys, into 2^bits ranges."""

    partitions: int
    bits: int

    @classmethod
    def of(cls, row_count: int, memory_limit: float) -> "Layout":
        """Return the Layout for so many rows.  memory_limit: GiB, in which the values of a partition are counted."""
        partitions = math.ceil(row_count / sizes.count_batch(memory_limit))
        bits = math.ceil(math.log2(max(RANGES_PER_SHARD * row_count / sizes.SHARD_ROWS, 1)))
        return cls(max(partitions, 1), bits)

    @property
    def folder(self) -> str:
        """The name of the folder of the pieces that are parsed for it."""
        return f"{PARSED}-{self.bits}"

    def ranges(self, splits: KeySplits) -> KeyRanges:
        """Return the ranges of keys."""
        return KeyRanges(splits, self.bits)


def holds_pieces(folder: pathlib.Path) -> bool:
    """Tell whether a folder holds parsed pieces."""
    return any(folder.glob(f"{PARSED}*/*/{COMPLETE}"))


def digest_of(text: str) -> str:
    """Return a short digest, for a name that depends on a content alone."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]
