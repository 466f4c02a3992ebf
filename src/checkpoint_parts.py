# SPDX-License-Identifier: Apache-2.0
"""The parts of a checkpoint: files, each written by the rank that owns that part of the tables, and read one by one."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import safetensors
import safetensors.numpy
from mindspore import nn

from src.common.errors import UserError
from src.common.files import file_sha256, replaced
from src.deepfm import EMA_PREFIX
from src.distributed.process_group import ProcessGroup
from src.network.tables import Part, copy_part, is_table

PART_SUFFIX = ".safetensors"
DIGEST_LENGTH = 64  # hexadecimal digits of a SHA-256
Shape = tuple[int, ...]
Find = Callable[[str], np.ndarray | None]  # from the name of a parameter to its values; None if there is none


@dataclasses.dataclass(frozen=True)
class PartFile:
    """The name of a file with a part of each table, in the folder of its checkpoint, and its SHA-256."""

    file: str
    sha256: str


def save_parts(cell: nn.Cell, checkpoint: pathlib.Path, owners: ProcessGroup) -> tuple[PartFile, ...]:
    """Write the own part of each table, of its moments and its EMA weights; return the files of all ranks.  Collective.

    checkpoint: the path of the .ckpt file that has all other parameters.  A rank that owns whole tables writes nothing.
    Raises UserError if the first rank does not see the files of all, and OSError.
    """
    if owners.count == 1:
        return ()
    names = [f"{checkpoint.stem}.part-{rank}-of-{owners.count}{PART_SUFFIX}" for rank in range(owners.count)]
    own = checkpoint.with_name(names[owners.rank])
    owners.all_do(lambda: save_part(cell, own))
    owners.first_does(lambda: _check_visible(checkpoint.parent, names))
    digests = owners.gather(np.array([ord(digit) for digit in file_sha256(own)], np.int32)).reshape(-1, DIGEST_LENGTH)
    return tuple(PartFile(name, "".join(map(chr, digest))) for name, digest in zip(names, digests))


def save_part(cell: nn.Cell, path: pathlib.Path) -> None:
    """Write the tables of a cell, their moments and EMA weights, to a file, atomically; OSError names the file."""
    tables = {each.name: np.ascontiguousarray(each.asnumpy()) for each in cell.get_parameters() if is_table(each.name)}
    with replaced(path) as partial:
        try:
            safetensors.numpy.save_file(tables, partial)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path}: {error}") from error


def _check_visible(folder, names):
    for name in names:
        if not (folder / name).is_file():
            raise UserError(
                f"--shard_embedding=True: the first process does not see {folder / name}, which another one has "
                "written; all nodes must share the folder of --ckpt_path"
            )


def open_parts(folder: pathlib.Path, files: Sequence[PartFile]) -> Iterator[tuple[Part, Find]]:
    """Yield each part and how to find its tables, one file after the other; a table is read when it is asked for."""
    for index, each in enumerate(files):
        with safetensors.safe_open(folder / each.file, "np") as part:
            yield Part(index, len(files)), functools.partial(_find, part)


def _find(file, name):
    return file.get_tensor(name) if name in file.keys() else None  # noqa: SIM118 (it is no dict)


def collect_tables(
    shapes: Mapping[str, Shape], sources: Iterable[tuple[Part, Find]], part: Part, *, use_ema: bool
) -> dict[str, np.ndarray]:
    """Return a part of each table, float32, from the parts of all sources.

    shapes: of the whole tables by name.  use_ema: take the EMA weights if a source has them.
    Raises UserError if a source lacks a table, or has one of another size.
    """
    tables = {name: np.zeros(part.shape(name, shape), np.float32) for name, shape in shapes.items()}
    for source, find in sources:
        for name, table in tables.items():
            held = find(EMA_PREFIX + name) if use_ema else None
            held = find(name) if held is None else held
            expected = source.shape(name, shapes[name])
            if held is None or held.shape != expected:
                found = "no" if held is None else f"{held.shape} of"
                raise UserError(f"part {source.index} of {source.count} has {found} {name}, not {expected}")
            copy_part(name, shapes[name], held, source, table, part)
    return tables
