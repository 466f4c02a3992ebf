# SPDX-License-Identifier: Apache-2.0
"""A MindRecord folder, described by its dataset_meta.json."""

import dataclasses
import json
import os
import pathlib
from typing import Any

from src.common.errors import UserError
from src.common.files import file_sha256, partial_path
from src.common.progress import Progress

META_NAME, VOCABULARY_NAME = "dataset_meta.json", "vocabulary.tsv"
SPLITS = ("train", "valid", "test")
PADDING_LABEL = -1.0  # of the rows that pad the last record of a split
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class ShardFile:
    """A file of a split; `bytes` and `sha256` do not include its index (.db)."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SplitMeta:
    """The sizes of a split: padded_rows is the number of padding rows (label -1) in its last record."""

    rows: int
    positives: int
    padded_rows: int
    records: int
    files: tuple[ShardFile, ...]

    def with_part(self, part: "SplitMeta") -> "SplitMeta":
        """Return the sizes of a split that has the files of `part` after these."""
        sums = {field.name: getattr(self, field.name) + getattr(part, field.name) for field in dataclasses.fields(self)}
        return SplitMeta(**sums)


@dataclasses.dataclass(frozen=True)
class DatasetMeta:
    """A MindRecord folder.

    path: the folder itself.  It is not part of the file, which says neither where the data came from nor when: the same
    rows and settings give the same bytes.
    sparse_fields: the names of the S columns of sparse_ids.  dense_fields: those of the N columns of dense_values.
    dense_scales: center and divisor of each dense field.  bad_lines: their count by reason.  first_bad_lines: of some
    the line number from 1, and the reason.  fields: a dict for each column of the raw rows; see
    field_report.FieldReport.  settings: the part of the configuration that the data depend on.
    """

    path: pathlib.Path = dataclasses.field(compare=False)
    sparse_fields: tuple[str, ...]
    dense_fields: tuple[str, ...]
    vocabulary_size: int
    vocabulary_sha256: str
    dense_encoding: str
    dense_scales: tuple
    rows_per_record: int
    lines: int
    bad_lines: dict[str, int]
    first_bad_lines: tuple
    splits: dict[str, SplitMeta]
    fields: tuple[dict, ...]
    settings: dict[str, Any]

    def save(self, folder: str | os.PathLike) -> None:
        """Write `folder`/dataset_meta.json."""
        content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self)}
        del content["path"]
        pathlib.Path(folder, META_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "DatasetMeta":
        """Read `folder`/dataset_meta.json and check that the files it names exist and have their size."""
        path = pathlib.Path(folder, META_NAME)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("format_version") != FORMAT_VERSION:
                raise UserError(f"{path}: written by another version of preprocess_data.py; preprocess again")
            splits = {
                name: SplitMeta(**{**split, "files": tuple(ShardFile(**file) for file in split["files"])})
                for name, split in content.pop("splits").items()
            }
            others = {key: as_tuple(value) for key, value in content.items()}
            meta = cls(path=path.parent, splits=splits, **others)
        except FileNotFoundError:
            raise UserError(_missing_message(folder)) from None
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is damaged ({error!r}); preprocess again") from error
        meta.check_files()
        return meta

    def check_files(self) -> None:
        """Raise UserError if a shard, its index or the vocabulary is missing, or a shard has another size."""
        shards = [file for split in self.splits.values() for file in split.files]
        for name in [VOCABULARY_NAME, *(f"{file.name}{suffix}" for file in shards for suffix in ("", ".db"))]:
            if not (self.path / name).is_file():
                raise UserError(f"{self.path / name} is missing; copy it back or preprocess again")
        for file in shards:
            size = (self.path / file.name).stat().st_size
            if size != file.bytes:
                raise UserError(f"{self.path / file.name} has {size} bytes, not {file.bytes}; preprocess again")

    def check_content(self, split: str) -> None:
        """Raise UserError if a shard of a split has another SHA-256; shards of different data often have one size."""
        files = self.splits[split].files
        progress = Progress("check", sum(file.bytes for file in files), "bytes", leave=False)
        for file in files:
            path = self.path / file.name
            if file_sha256(path) != file.sha256:
                raise UserError(
                    f"{path} is damaged or of other data: its SHA-256 is not the one in {META_NAME}; copy it again or "
                    "preprocess again"
                )
            progress.advance(file.bytes)
        progress.close()

    def records_per_batch(self, split: str, batch_size: int, *, training_ranks: int | None = None) -> int:
        """Return the number of records in a batch; UserError if the records of a split cannot make such batches.

        training_ranks: the processes that train together, each of which needs a full batch; None: batches are padded.
        """
        rows, records = self.rows_per_record, self.splits[split].records
        if batch_size == 0:
            raise UserError("--batch_size=0 is for export.py alone")
        if batch_size % rows:
            raise UserError(
                f"--batch_size={batch_size} cannot be made of records of {rows} rows; use a multiple of {rows}, "
                f"or preprocess with a --line_per_sample that divides {batch_size}"
            )
        if not records:
            raise UserError(f"the {split} split has no rows; preprocess with --{split}_ratio above 0")
        if training_ranks and batch_size * training_ranks > records * rows:
            largest = records // training_ranks * rows
            raise UserError(
                f"--batch_size={batch_size}: the {split} split has {records} records of {rows} rows; "
                f"use a multiple of {rows} up to {largest}, or preprocess with a smaller --line_per_sample"
            )
        return batch_size // rows

    def steps_per_epoch(self, batch_size: int, ranks: int) -> int:
        """Return the number of training steps in which so many processes together read a batch each."""
        return self.splits["train"].records // (
            self.records_per_batch("train", batch_size, training_ranks=ranks) * ranks
        )

    def check_field(self, name: str | None) -> None:
        """Raise UserError if --by_field names no sparse field; None is accepted."""
        if name is not None and name not in self.sparse_fields:
            raise UserError(f"--by_field={name}: the sparse fields of these data are {', '.join(self.sparse_fields)}")


def as_tuple(value: Any) -> Any:
    """Return a value of parsed JSON with its lists, nested ones too, as tuples."""
    return tuple(as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value


def _missing_message(folder):
    partial = partial_path(folder)
    if partial.exists():
        return f"{folder} is not finished: {partial} exists; run src/preprocess_data.py again to resume"
    inner = pathlib.Path(folder, "mindrecord")
    if (inner / META_NAME).is_file():
        return f"{folder} holds no {META_NAME}; did you mean --dataset_path={inner}?"
    return f"{folder} holds no {META_NAME}; --dataset_path names a folder that src/preprocess_data.py wrote"
