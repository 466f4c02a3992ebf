# SPDX-License-Identifier: Apache-2.0
"""From raw Criteo rows to MindRecord: python src/preprocess_data.py --data_path=./data/

The text is read once.  Each row gets a key, SplitMix64 of its line number; the order of the keys is the order of the
rows in the result, and the ends of the key range are the valid and the test split.  While the train rows are counted,
all rows go to disk in buckets of neighbouring keys; then bucket by bucket is sorted, encoded and packed.
"""

import dataclasses
import pathlib
import shutil
import sys
from collections import Counter

if __package__ in (None, ""):  # started as a script: make `src` importable
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

import numpy as np
import polars as pl

from src.background import in_background
from src.config import load_config
from src.dataset_meta import META_NAME, SPLITS, VOCABULARY_NAME, DatasetMeta, file_sha256
from src.errors import UserError, exit_on_user_error
from src.features import KEY, LABEL, FeatureEncoder, FeatureStats, FieldSchema
from src.hex_codes import to_texts
from src.progress import Progress
from src.raw_rows import BadLines, find_source, parse_block, read_blocks
from src.splitmix import splitmix64

BLOCK_BYTES = 128 << 20
BUCKET_BITS = 5
KEY_BITS = 64


@dataclasses.dataclass(frozen=True)
class KeySplits:
    """Where in the order of the keys the valid and the test split begin, as fractions of 2^64."""

    seed: int
    valid_start: int
    test_start: int

    @classmethod
    def of_ratios(cls, seed, valid_ratio, test_ratio):
        test_start = 2**KEY_BITS - round(test_ratio * 2**KEY_BITS)
        return cls(seed, test_start - round(valid_ratio * 2**KEY_BITS), test_start)

    def keys(self, line_numbers):
        """Return the keys, uint64 [n], of lines numbered from 0."""
        return splitmix64(self.seed, line_numbers)

    def cut(self, sorted_keys):
        """Return for each split its slice of `sorted_keys`, uint64 [n]."""
        valid, test = (
            int(np.searchsorted(sorted_keys, np.uint64(bound))) if bound < 2**KEY_BITS else len(sorted_keys)
            for bound in (self.valid_start, self.test_start)
        )
        return {"train": slice(0, valid), "valid": slice(valid, test), "test": slice(test, None)}


def main(argv=None):
    config = load_config(argv, description="Turn raw Criteo rows into MindRecord.")
    if config.valid_ratio + config.test_ratio >= 1:
        raise UserError(
            f"--valid_ratio={config.valid_ratio} and --test_ratio={config.test_ratio} must leave rows to train on"
        )
    source = find_source(config.data_path)
    target = pathlib.Path(config.data_path, "mindrecord")
    if target.exists() and not config.overwrite:
        raise UserError(f"{target} exists already; --overwrite=True replaces it")
    meta = preprocess(source, target, config)
    print(describe(meta, target))


def preprocess(source, target, config):
    """Write the rows of the file `source` to the folder `target`, whole or not at all; return its DatasetMeta."""
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    spill = partial / "spill"
    spill.mkdir(parents=True)
    try:
        meta = _run_stages(source, partial, spill, config)
        shutil.rmtree(spill)
        meta.save(partial)
        _replace_folder(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return meta


def _run_stages(source, folder, spill, config):
    schema = FieldSchema(config.dense_dim, config.slot_dim, config.skip_id_convert)
    splits = KeySplits.of_ratios(config.split_seed, config.valid_ratio, config.test_ratio)
    rows = spill_source(source, schema, splits, spill, config.train_line_count)
    check_lines(source, rows, schema, config.max_bad_line_ratio)
    check_splits(source, rows.split_labels, config)
    encoder = FeatureEncoder.fit(
        schema,
        rows.train_stats,
        config.dense_encoding,
        config.threshold,
        config.max_vocab_size,
        first_id=rows.largest_id + 1,
    )
    encoder.vocabulary.save(folder / VOCABULARY_NAME)
    split_metas = write_splits(spill, folder, encoder, splits, config.line_per_sample, rows.good_lines)
    return DatasetMeta(
        sparse_fields=tuple(encoder.sparse_names),
        dense_fields=tuple(schema.integer_names[: len(encoder.dense_scales)]),
        vocabulary_size=rows.largest_id + 1 + len(encoder.vocabulary),
        vocabulary_sha256=file_sha256(folder / VOCABULARY_NAME),
        dense_encoding=config.dense_encoding,
        dense_scales=tuple([scale.center, scale.divisor] for scale in encoder.dense_scales),
        rows_per_record=config.line_per_sample,
        lines=rows.lines,
        bad_lines=dict(sorted(rows.bad_lines.counts.items())),
        first_bad_lines=tuple(rows.bad_lines.first),
        splits=split_metas,
        config=dataclasses.asdict(config),
    )


@dataclasses.dataclass
class RowSummary:
    """What was seen while the rows were read.

    largest_id: -1 unless the categories already are ids.  split_labels: for each split how often each label occurs.
    """

    train_stats: FeatureStats
    bad_lines: BadLines = dataclasses.field(default_factory=BadLines)
    lines: int = 0
    largest_id: int = -1
    split_labels: dict = dataclasses.field(default_factory=lambda: {split: Counter() for split in SPLITS})

    @property
    def good_lines(self):
        return self.lines - self.bad_lines.count

    def add(self, frame, parts, schema):
        """Take in the good rows of a block; parts: for each split its slice of them."""
        self.train_stats.update(frame[parts["train"]])
        for split, part in parts.items():
            self.split_labels[split].update(dict(frame[LABEL][part].value_counts().iter_rows()))
        if schema.categories_are_ids and frame.height:
            self.largest_id = max(self.largest_id, *frame.select(pl.max(schema.category_names)).row(0))


def spill_source(source, schema, splits, spill, expected_lines):
    """Parse the file, count the values of its train rows and spill its rows to buckets of neighbouring keys."""
    summary = RowSummary(FeatureStats(schema))
    progress = Progress("read", expected_lines)
    blocks = in_background(read_blocks(source, BLOCK_BYTES))
    for number, (frame, line_count) in enumerate(
        in_background(parse_blocks(blocks, schema, splits, summary.bad_lines))
    ):
        summary.add(frame, splits.cut(frame[KEY].to_numpy()), schema)
        spill_rows(frame, spill, number)
        summary.lines += line_count
        progress.advance(line_count)
    progress.close()
    return summary


def parse_blocks(blocks, schema, splits, bad_lines):
    """Yield for each block its good rows, sorted by key, and its number of lines."""
    first_line = 0
    for block in blocks:
        frame, line_count = parse_block(block, first_line, schema, bad_lines)
        keys = pl.Series(KEY, splits.keys(frame[KEY].to_numpy()))
        yield frame.with_columns(keys).sort(KEY), line_count
        first_line += line_count


def spill_rows(frame, spill, block_number):
    """Write the rows of a block, sorted by key, to a file for each bucket."""
    buckets = frame[KEY].to_numpy() >> np.uint64(KEY_BITS - BUCKET_BITS)
    ends = np.searchsorted(buckets, np.arange(2**BUCKET_BITS, dtype=np.uint64), side="right")
    start = 0
    for bucket, end in enumerate(ends.tolist()):
        if end > start:
            folder = spill / f"bucket-{bucket:02d}"
            folder.mkdir(exist_ok=True)
            frame[start:end].write_ipc(folder / f"block-{block_number:06d}.arrow")
        start = end


def write_splits(spill, folder, encoder, splits, rows_per_record, row_count):
    """Sort, encode and pack the buckets; return the SplitMeta of each split."""
    from src.record_writer import SplitWriter  # MindSpore takes seconds to import: not before the rows are known good

    columns = ["sparse_ids", *(["dense_values"] if encoder.dense_scales else []), "label"]
    writers = {split: SplitWriter(folder, split, rows_per_record, columns) for split in SPLITS}
    progress = Progress("write", row_count)
    for keys, values in in_background(encode_buckets(spill, encoder)):
        for split, part in splits.cut(keys).items():
            writers[split].add({name: values[name][part] for name in columns})
        progress.advance(len(keys))
    progress.close()
    return {split: writer.close() for split, writer in writers.items()}


def encode_buckets(spill, encoder):
    """Yield for each bucket its sorted keys, uint64 [n], and the columns of a record by name."""
    for bucket in sorted(spill.iterdir()):
        rows = read_bucket(bucket).sort(KEY)
        sparse_ids, dense_values = encoder.encode(rows)
        labels = rows[LABEL].to_numpy().astype(np.float32)
        yield rows[KEY].to_numpy(), {"sparse_ids": sparse_ids, "dense_values": dense_values, "label": labels}


def read_bucket(folder):
    """Return the rows of a bucket; a column that is text in one block and codes in another becomes text."""
    frames = [pl.read_ipc(path) for path in sorted(folder.iterdir())]
    for name in frames[0].columns:
        if {frame.schema[name] for frame in frames} == {pl.String, pl.UInt32}:
            frames = [
                frame.with_columns(to_texts(frame[name])) if frame.schema[name] == pl.UInt32 else frame
                for frame in frames
            ]
    return pl.concat(frames, how="vertical_relaxed")


def check_lines(source, rows, schema, max_bad_line_ratio):
    """Refuse a file that is empty or has too many malformed lines."""
    if rows.lines == 0:
        raise UserError(f"{source} is empty")
    if rows.bad_lines.count > max_bad_line_ratio * rows.lines:
        raise UserError(
            f"{source}: of {rows.lines} lines {rows.bad_lines}; --max_bad_line_ratio={max_bad_line_ratio} allows "
            f"fewer. A row has 1 label, --dense_dim={schema.dense_dim} integers and --slot_dim={schema.slot_dim} "
            "categories, separated by tabs"
        )


def check_splits(source, split_labels, config):
    """Refuse splits that nothing can be learned from or scored on."""
    wanted = {"train": True, "valid": config.valid_ratio > 0, "test": config.test_ratio > 0}
    for split, labels in split_labels.items():
        if wanted[split] and not (labels[0] and labels[1]):
            raise UserError(
                f"{source}: of the {labels.total()} rows of the {split} split {labels[1]} have label 1; both labels "
                "must occur: use more rows, or another --valid_ratio or --test_ratio"
            )


def _replace_folder(new, target):
    """Put the folder `new` where `target` is, or is to be."""
    old = target.with_name(target.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def describe(meta, target):
    """Return the summary that is printed at the end."""
    lines = [f"{target / META_NAME}: {meta.lines:,} lines, {sum(meta.bad_lines.values()):,} malformed"]
    expected = meta.config["train_line_count"]
    if expected not in (0, meta.lines):
        lines.append(f"note: --train_line_count={expected} says that there should be {expected:,} lines")
    lines += [f"malformed line {number}: {reason}" for number, reason in meta.first_bad_lines]
    lines += [
        f"{name:5} {split.rows:12,} rows, {split.positives / max(split.rows, 1):.4f} of them clicks, "
        f"{len(split.files)} files"
        for name, split in meta.splits.items()
    ]
    lines.append(
        f"{len(meta.sparse_fields)} sparse fields, {len(meta.dense_fields)} dense fields, "
        f"vocabulary {meta.vocabulary_size:,}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    exit_on_user_error(main)
