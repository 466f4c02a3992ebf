# SPDX-License-Identifier: Apache-2.0
"""What the tasks of a job have in common, in a file of the storage, so that no task has to carry it."""

import dataclasses
import functools
import hashlib
import json
import math

from src.preprocessing import sizes
from src.preprocessing.cluster.key_ranges import KeyRanges
from src.preprocessing.cluster.results import COMPLETE
from src.preprocessing.cluster.storage import Storage, storage_at
from src.preprocessing.schema import FieldSchema
from src.preprocessing.splits import KeySplits

RANGES_PER_SHARD = 16  # at least: a shard reads up to two ranges in part
DIGEST_DIGITS = 16
PARSED = "parsed"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the tasks of a job have in common.

    versions: of the client; see versions.py.  memory_limit: GiB of a worker.
    address: of the storage of their files.
    """

    address: str
    schema: FieldSchema
    splits: KeySplits
    versions: dict[str, str]
    memory_limit: float
    rows_per_record: int
    shard_records: int

    @property
    def storage(self) -> Storage:
        """The storage of the files of the tasks."""
        return storage_at(self.address)

    def save(self) -> str:
        """Write the plan to a file of its storage, whose name depends on its content; return the name."""
        content = json.dumps(dataclasses.asdict(self))
        name = f"plan-{digest_of(content)}.json"
        self.storage.write(name, content.encode())
        return name

    @classmethod
    @functools.cache
    def load(cls, address: str, name: str) -> "Plan":
        """Return the plan in a file of the storage at an address; OSError if this machine does not have it."""
        try:
            content = json.loads(storage_at(address).read(name))
        except FileNotFoundError:
            raise OSError(
                f"there is no {address}/{name} here: all machines must reach the folders of --data_path and "
                "--spill_path, under the same paths"
            ) from None
        schema, splits = FieldSchema.from_dict(content.pop("schema")), KeySplits.from_dict(content.pop("splits"))
        return cls(schema=schema, splits=splits, **content)


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


def holds_pieces(storage: Storage) -> bool:
    """Tell whether a storage holds parsed pieces."""
    return any(
        COMPLETE in storage.names(f"{folder}/{piece}")
        for folder in storage.names()
        if folder.startswith(PARSED)
        for piece in storage.names(folder)
    )


def digest_of(text: str) -> str:
    """Return a short digest, for a name that depends on a content alone."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]
