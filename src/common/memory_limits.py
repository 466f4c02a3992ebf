# SPDX-License-Identifier: Apache-2.0
"""The memory that this machine has left, and whether a training, an evaluation or an export fits into it."""

import dataclasses
import pathlib
import resource

import psutil

from src.common.errors import UserError
from src.common.memory_estimate import HasSizes, table_bytes

GIB = 2**30
TRAINING = "training"
MARGIN = 1.3  # estimates may be too large by this factor, and nothing that fits may be refused
UNLIMITED = 2**60  # bytes; cgroup v1 reports more than this if there is no limit
HASHED_RANGE = 10  # a vocabulary so many times larger than the ids that can occur consists of hashes
CGROUPS, OWN_CGROUPS = pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/proc/self/cgroup")
# The files of a cgroup by version: limit, usage, and the entries of memory.stat that the kernel can reclaim.
CGROUP_FILES = {
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


@dataclasses.dataclass(frozen=True)
class Limit:
    """The bytes that one process can still get, and the source of this limit, for a message."""

    free_bytes: int
    source: str


@dataclasses.dataclass(frozen=True)
class Work:
    """A task that is about to run: its name, as "training", and the bytes that each of its processes needs.

    process_count: of this machine.  part_count: the number of parts into which the tables are cut.
    """

    name: str
    sizes: HasSizes
    needed_bytes: int
    process_count: int = 1
    part_count: int = 1

    def __str__(self):
        each = f"{self.process_count} times " if self.process_count > 1 else ""
        table = table_bytes(self.sizes, is_training=self.name == TRAINING, part_count=self.part_count) / GIB
        shape = f"{self.sizes.vocabulary_size:,} x {self.sizes.embedding_size + 1}"
        part = f"one of {self.part_count} parts of the " if self.part_count > 1 else ""
        return f"{each}{self.needed_bytes / GIB:,.1f} GiB for {self.name} ({part}table of {shape}: {table:,.1f} GiB)"


def check_fits(work: Work, device: str, advice: str, *, is_planned: bool = False) -> None:
    """Print the memory that the work needs; raise UserError if this machine does not have it.

    A device other than "CPU" has memory of its own, which is not compared.  advice: how to need less, for the message.
    is_planned: another process is going to do the work, when the memory of this one is free again.
    The rule: refuse if the estimate, divided by MARGIN, exceeds the free memory, swap included.
    """
    if device != "CPU":
        print(f"memory: {work}; not compared with the memory of {device}; if that has less, {advice}", flush=True)
        return
    own = psutil.Process().memory_info()
    limit = smallest_limit(work.process_count, 0 if is_planned else own.vms)
    held = own.rss
    if (work.needed_bytes - held) / MARGIN > limit.free_bytes:
        raise UserError(
            f"memory: about {work}, and this machine has {limit.free_bytes / GIB:,.1f} GiB left ({limit.source}); "
            f"{advice}"
        )
    print(f"memory: {work}; {(limit.free_bytes + held) / GIB:,.1f} GiB are free", flush=True)


def training_advice(
    sizes: HasSizes, distinct_ids: int | None = None, process_count: int = 1, *, is_cut: bool = False
) -> str:
    """Return how to reduce the memory of a training.

    distinct_ids: an upper bound for the distinct ids in the data, if the vocabulary size is only the largest id + 1.
    is_cut: whether the tables are cut into parts already.
    """
    if distinct_ids is not None and sizes.vocabulary_size > HASHED_RANGE * distinct_ids:
        return (
            f"at most {distinct_ids:,} of the ids occur, so they look hashed: preprocess with --skip_id_convert=0, "
            "which numbers them"
        )
    cut = "" if is_cut else "--shard_embedding=True with several devices, "
    fewer = "fewer processes, " if process_count > 1 else ""
    return (
        f"use {cut}{fewer}a smaller --embedding_size, --batch_size or --hidden_sizes, or preprocess with a larger "
        "--threshold or with --max_vocab_size"
    )


def smallest_limit(process_count: int = 1, own_virtual_bytes: int = 0) -> Limit:
    """Return the smallest of these: available RAM, the limits of cgroups, and the limit of the address space.

    The processes share RAM and the limits of cgroups; each has an address space of its own.
    """
    swap = psutil.swap_memory().free
    limits = [Limit((psutil.virtual_memory().available + swap) // process_count, "available RAM")]
    limits += [
        Limit((limit.free_bytes + swap) // process_count, limit.source) for limit in cgroup_limits(CGROUPS, OWN_CGROUPS)
    ]
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        limits.append(Limit(max(address_space - own_virtual_bytes, 0), "ulimit -v"))
    return min(limits, key=lambda limit: limit.free_bytes)


def cgroup_limits(root: pathlib.Path, own: pathlib.Path) -> list[Limit]:
    """Return a Limit for each cgroup, v1 or v2, that limits the memory of this process.

    root: the mount point of cgroups.  own: the file that lists the cgroups of the process.
    """
    limits = []
    for folder, version in _cgroup_folders(root, own):
        limit_name, usage_name, reclaimable = CGROUP_FILES[version]
        limit, usage = _read_number(folder / limit_name), _read_number(folder / usage_name)
        if limit is not None and limit < UNLIMITED and usage is not None:
            cached = sum(_read_statistics(folder / "memory.stat").get(name, 0) for name in reclaimable)
            limits.append(Limit(max(limit - max(usage - cached, 0), 0), f"cgroup limit {limit_name}"))
    return limits


def _cgroup_folders(root, own):
    """Yield the folders of the cgroups of this process and of their parents, each with its version."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version = 2 if not controllers else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        top = root if version == 2 else root / "memory"
        folder = top / path.lstrip("/")
        yield from ((each, version) for each in (folder, *folder.parents) if each == top or top in each.parents)


def _read_number(path):
    """Return the number in a file; None if there is no such file or no number in it, such as "max"."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_statistics(path):
    try:
        rows = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2}
    except (OSError, ValueError):
        return {}
