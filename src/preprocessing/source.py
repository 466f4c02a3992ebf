# SPDX-License-Identifier: Apache-2.0
"""The raw rows of a job: one or more files, in the order of their rows."""

import dataclasses
import glob
import os
import pathlib
import re

from src.common.errors import UserError
from src.preprocessing.schema import FieldSchema, TextFormat
from src.preprocessing.streams import ARCHIVE_SUFFIXES, PACKED_SUFFIXES, TEXT_NAME, TEXT_SUFFIXES, text_bytes_of

CRITEO_NAMES = ("train.txt", "train.txt.gz", "dac.tar.gz")
CSV = TextFormat(separator=",", has_header=True, follows_suffix=True)
PARQUET = ".parquet"
PARQUET_EXPANSION = 3.0  # text is as many times as large as the same rows in Parquet, roughly
FOLDER_OF_CRITEO = "origin_data"


@dataclasses.dataclass(frozen=True)
class Source:
    """The raw rows of a job.

    files: in the order of their rows.  members: of an archive that has one of these, this one alone is read, the first
    of them that it has.
    own_counts: the numbers of the last files that are the validation split, and behind them the test split.
    """

    files: tuple[pathlib.Path, ...]
    members: tuple[str, ...] = (TEXT_NAME,)
    own_counts: tuple[int, int] = (0, 0)

    @classmethod
    def find(cls, data_path: str, flag: str = "data_path", members: tuple[str, ...] = (TEXT_NAME,)) -> "Source":
        """Return the source that a flag names; UserError if there is none.

        data_path: a folder with one of CRITEO_NAMES, itself or in its folder origin_data; else all files of rows in the
        folder, by the numbers in their names (day_2 before day_10); or a file, a pattern as day_*.gz, or several of
        these, separated by commas, in this order.
        """
        if pathlib.Path(data_path).is_dir():
            return cls(_files_in(pathlib.Path(data_path), flag), members)
        parts = [data_path] if pathlib.Path(data_path).is_file() else map(str.strip, data_path.split(","))
        files = [file for part in parts for file in _files_named(part, flag)]
        if repeated := _repeated(files):
            raise UserError(f"--{flag} names {repeated[0]} twice")
        return cls(tuple(files), members)

    @classmethod
    def find_splits(cls, data_path: str, valid_path: str | None, test_path: str | None) -> "Source":
        """Return the source of all rows, where the paths, as find takes them, name splits that have their own files."""
        flags = {"data_path": data_path, "valid_path": valid_path, "test_path": test_path}
        found = [cls.find(path, flag).files if path else () for flag, path in flags.items()]
        files = sum(found, ())
        if repeated := _repeated(files):
            raise UserError(
                f"{repeated[0]} is in several of --data_path, --valid_path and --test_path; its rows can be in one "
                "split only: name the files of each, also by patterns as train_*.csv, instead of their folder"
            )
        return cls(files, own_counts=(len(found[1]), len(found[2])))

    def split_of(self, number: int) -> int:
        """Return the split, an index of SPLITS, of all rows of file `number`; 0 if the file does not decide on it."""
        valid_start = len(self.files) - sum(self.own_counts)
        return int(number >= valid_start) + int(number >= valid_start + self.own_counts[0])

    @property
    def divided(self) -> "Source":
        """The files whose rows are divided into splits."""
        return Source(self.files[: len(self.files) - sum(self.own_counts)], self.members)

    @property
    def own_fractions(self) -> tuple[float, float]:
        """Roughly the fractions of all rows in files of the validation and of the test split."""
        sizes = [0.0] * 3
        for number, file in enumerate(self.files):
            sizes[self.split_of(number)] += Source((file,)).text_bytes
        return sizes[1] / max(sum(sizes), 1), sizes[2] / max(sum(sizes), 1)

    def __str__(self):
        return str(self.files[0]) if len(self.files) == 1 else f"{len(self.files)} files in {self.files[0].parent}"

    @property
    def text_bytes(self) -> float:
        """The size of all rows as text in bytes; an estimate if files are packed or of another form."""
        return sum(
            file.stat().st_size * PARQUET_EXPANSION if is_parquet(file) else text_bytes_of(file) for file in self.files
        )

    def name_of(self, file: pathlib.Path) -> str:
        """Return the name of a file in messages on its lines; empty if there is no other."""
        return file.name if len(self.files) > 1 else ""

    def identity(self) -> dict:
        """Return what tells the rows apart from others, a dict for JSON."""
        identities = [identify(file) for file in self.files]
        own = {"own_counts": list(self.own_counts)} if any(self.own_counts) else {}
        return identities[0] if len(identities) == 1 else {"files": identities, **own}


def identify(file: pathlib.Path) -> dict:
    """Return the identity of a file: its name, size and time of change, a dict for JSON."""
    status = file.stat()
    return {"name": file.name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def is_parquet(file: pathlib.Path) -> bool:
    """Tell whether a file is one of Parquet, by its name."""
    return file.suffix == PARQUET


def schema_of_file(schema: FieldSchema, file: pathlib.Path) -> FieldSchema:
    """Return the schema with the form of a file: if it follows the suffix, a .csv has commas and a header instead."""
    is_csv = ".csv" in file.suffixes
    return dataclasses.replace(schema, text=CSV) if is_csv and schema.text.follows_suffix else schema


def _files_in(folder: pathlib.Path, flag: str) -> tuple[pathlib.Path, ...]:
    """Return the files of rows in a folder: one of CRITEO_NAMES, or all of the known kinds."""
    folders = (folder / FOLDER_OF_CRITEO, folder)
    for each in folders:
        for name in CRITEO_NAMES:
            if (each / name).is_file():
                return (each / name,)
    for each in folders:
        files = [path for path in each.glob("*") if path.is_file() and has_rows(path.name)]
        if files:
            return tuple(sorted(files, key=_natural_order))
    raise UserError(
        f"no {', '.join(CRITEO_NAMES)} and no other file of rows in {folders[0]} or {folders[1]}; --{flag} names "
        f"the folder, or the files; files of rows end with {' '.join((*TEXT_SUFFIXES, PARQUET))}, and if they are "
        f"packed with {' '.join((*PACKED_SUFFIXES, *ARCHIVE_SUFFIXES))}"
    )


def _files_named(text: str, flag: str) -> list[pathlib.Path]:
    """Return the file with a path, or those that match a pattern."""
    if pathlib.Path(text).is_file():
        return [pathlib.Path(text)]
    files = [pathlib.Path(name) for name in glob.glob(text, recursive=True) if pathlib.Path(name).is_file()]
    if not files:
        raise UserError(f"--{flag}={text}: no such file or folder")
    return sorted(files, key=_natural_order)


def has_rows(name: str) -> bool:
    """Tell whether a file of a folder holds rows, by its name."""
    if name.lower().startswith((".", "_", "readme")):  # as _SUCCESS of Spark
        return False
    if name.endswith((*ARCHIVE_SUFFIXES, PARQUET, *TEXT_SUFFIXES)):
        return True
    unpacked = next((name.removesuffix(suffix) for suffix in PACKED_SUFFIXES if name.endswith(suffix)), name)
    return unpacked != name and (unpacked.endswith(TEXT_SUFFIXES) or "." not in unpacked)  # as day_0.gz


def _repeated(files):
    """Return the files that are in a sequence before, perhaps under another path."""
    real = [os.path.realpath(file) for file in files]
    return [file for number, file in enumerate(files) if real[number] in real[:number]]


def _natural_order(path: pathlib.Path) -> tuple:
    """Return a key that sorts names by the numbers in them, day_2 before day_10."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((int(part), part) if part.isdigit() else (-1, part) for part in parts), str(path)
