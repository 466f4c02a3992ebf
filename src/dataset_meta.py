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
OPTIONAL_KEYS = ("weight", "positive_weight", "bucket_edges", "list_lengths", "left_out")


@dataclasses.dataclass(frozen=True)
class ShardFile:
    """A file of a split; `bytes` and `sha256` do not include its index (.db).

    weight, positive_weight: the sums of the weights of its rows, and of those with a click; None without weights.
    """

    name: str
    records: int
    bytes: int
    sha256: str
    weight: float | None = None
    positive_weight: float | None = None


@dataclasses.dataclass(frozen=True)
class SplitMeta:
    """The sizes of a split: padded_rows is the number of padding rows (label -1) in its last record."""

    rows: int
    positives: int
    padded_rows: int
    records: int
    files: tuple[ShardFile, ...]

    @property
    def base_rate(self) -> float:
        """The fraction of clicks, by weight if rows have weights; only of a split with rows."""
        if self.mean_weight is None:
            return self.positives / self.rows
        return sum(file.positive_weight or 0.0 for file in self.files) / (self.mean_weight * self.rows)

    @property
    def mean_weight(self) -> float | None:
        """The mean weight of the rows; None without weights."""
        weights = [file.weight for file in self.files if file.weight is not None]
        return sum(weights) / self.rows if weights else None

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
    the line number from 1, the reason, and the name of the file if there are several.  fields: a dict for each column
    of the raw rows; see field_report.FieldReport.  settings: the part of the configuration that the data depend on.
    bucket_edges: of the fields that are buckets of floats, by name.  list_lengths: the columns of sparse_ids of each
    multi-valued field, by name; those are the last fields.  left_out: the number of rows that --negative_keep_rate left
    out.
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
    bucket_edges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    list_lengths: dict[str, int] = dataclasses.field(default_factory=dict)
    left_out: int = 0

    @property
    def id_count(self) -> int:
        """The number S of columns of sparse_ids."""
        return len(self.sparse_fields) + self.list_width - len(self.list_lengths)

    @property
    def single_fields(self) -> tuple[str, ...]:
        """The sparse fields of which a row has one id."""
        return self.sparse_fields[: len(self.sparse_fields) - len(self.list_lengths)]

    @property
    def list_width(self) -> int:
        """The number of columns of sparse_ids, the last ones, of multi-valued fields."""
        return sum(self.list_lengths.values())

    @property
    def has_weights(self) -> bool:
        """Whether rows have weights."""
        return any(split.mean_weight is not None for split in self.splits.values())

    def save(self, folder: str | os.PathLike) -> None:
        """Write `folder`/dataset_meta.json."""
        content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(self, dict_factory=_without_defaults)}
        del content["path"]
        pathlib.Path(folder, META_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike, flag: str = "dataset_path") -> "DatasetMeta":
        """Read `folder`/dataset_meta.json and check that the files it names exist and have their size.

        flag: that names the folder, for messages.
        """
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
            raise UserError(_missing_message(folder, flag)) from None
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
            others = "--valid_ratio and --test_ratio below 1 together"
            fix = others if split == "train" else f"--{split}_ratio above 0"
            raise UserError(f"the {split} split has no rows; preprocess with {fix}")
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
        """Raise UserError if --by_field names no sparse field with one id in each row; None is accepted."""
        if name in self.list_lengths:
            raise UserError(
                f"--by_field={name}: a row may have several {name}; the fields of one value are "
                f"{', '.join(self.single_fields)}"
            )
        if name is not None and name not in self.single_fields:
            raise UserError(f"--by_field={name}: the sparse fields of these data are {', '.join(self.single_fields)}")


def _without_defaults(items):
    """Return a dict without what only some data have."""
    return {key: value for key, value in items if not (key in OPTIONAL_KEYS and value in (None, {}, 0))}


def as_tuple(value: Any) -> Any:
    """Return a value of parsed JSON with its lists, nested ones too, as tuples."""
    return tuple(as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value


def _missing_message(folder, flag):
    partial = partial_path(folder)
    if partial.exists():
        return f"{folder} is not finished: {partial} exists; run src/preprocess_data.py again to resume"
    inner = pathlib.Path(folder, "mindrecord")
    if (inner / META_NAME).is_file():
        return f"{folder} holds no {META_NAME}; did you mean --{flag}={inner}?"
    return f"{folder} holds no {META_NAME}; --{flag} names a folder that src/preprocess_data.py wrote"
