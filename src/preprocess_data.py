# SPDX-License-Identifier: Apache-2.0
"""From raw Criteo rows to MindRecord: python src/preprocess_data.py --data_path=./data/

The text is read once.  Each row gets a key, SplitMix64 of its line number; the order of the keys is the order of the
rows in the result, and the ends of the key range are the valid and the test split.  While the train rows are counted,
all rows go to disk in buckets of neighbouring keys; then bucket by bucket is sorted, encoded and packed.
"""

import dataclasses
import math
import pathlib
import sys
from collections import Counter

if __package__ in (None, ""):  # started as a script: make `src` importable
    sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

import numpy as np
import polars as pl

from src.background import in_background
from src.config import load_config
from src.dataset_meta import SPLITS, VOCABULARY_NAME, DatasetMeta, file_sha256
from src.diagnostics import IdCounter, describe, estimate, report_fields
from src.errors import UserError, exit_on_user_error
from src.features import KEY, LABEL, FeatureEncoder, FeatureStats, FieldSchema
from src.progress import Progress
from src.raw_rows import BadLines, find_source, parse_block, read_blocks
from src.result_folder import ResultFolder, identify, only_run
from src.spill import KEY_BITS, Spill
from src.splitmix import splitmix64

GIB = 1 << 30
BLOCK_SHARE, LEAST_BLOCK_BYTES, LARGEST_BLOCK_BYTES = 1 / 32, 1 << 16, 128 << 20
BUCKET_SHARE, LEAST_BUCKET_BITS, MOST_BUCKET_BITS = 1 / 8, 2, 10
COMPRESSION = 2.4  # raw rows are as many times as large as dac.tar.gz
# What the parsed rows and the result depend on beside the file; the other settings only say where and how.
SPILL_SETTINGS = ("dense_dim", "slot_dim", "skip_id_convert", "split_seed", "valid_ratio", "test_ratio")
RESULT_SETTINGS = (*SPILL_SETTINGS, "threshold", "max_vocab_size", "dense_encoding", "line_per_sample")


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
    with only_run(config.data_path):
        folder = ResultFolder(pathlib.Path(config.data_path, "mindrecord"), identify(source), result_settings(config))
        if folder.is_made():
            print(f"{folder.path} was made from this file with these settings already")
        else:
            folder.check_free(config.overwrite)
            preprocess(source, folder, config)
    print(describe(DatasetMeta.load(folder.path), folder.path, config.train_line_count))


def preprocess(source, folder, config):
    """Make the ResultFolder from the file `source`; what a killed run has done is used."""
    try:
        if not folder.is_waiting():
            _run_stages(source, folder, config)
        folder.commit()
    except UserError:
        folder.discard()
        raise
    except OSError as error:
        place = f"{folder.partial}: run the same command again to go on, or delete it"
        raise OSError(f"{error}. What has been done is in {place}") from error


def _run_stages(source, folder, config):
    schema = FieldSchema(config.dense_dim, config.slot_dim, config.skip_id_convert)
    splits = KeySplits.of_ratios(config.split_seed, config.valid_ratio, config.test_ratio)
    block_bytes, bucket_bits = size_work(source, config.memory_limit)
    identity = {**folder.source, **result_settings(config, SPILL_SETTINGS)}
    field_count = config.slot_dim + 2 * config.dense_dim
    print(estimate(source, text_size(source), field_count, config.memory_limit, config.data_path), flush=True)
    spill = Spill(folder.partial / "spill", identity, bucket_bits)
    rows = read_rows(source, schema, splits, spill, block_bytes, config.train_line_count)
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
    unfinished = folder.start()
    encoder.vocabulary.save(unfinished / VOCABULARY_NAME)
    test_ids = IdCounter(encoder.vocabulary)
    split_metas = write_splits(spill, unfinished, encoder, splits, config.line_per_sample, rows.good_lines, test_ids)
    fields = report_fields(schema, rows.train_stats, encoder.vocabulary, test_ids.counts, split_metas["test"].rows)
    meta = DatasetMeta(
        sparse_fields=tuple(encoder.sparse_names),
        dense_fields=tuple(schema.integer_names[: len(encoder.dense_scales)]),
        vocabulary_size=rows.largest_id + 1 + len(encoder.vocabulary),
        vocabulary_sha256=file_sha256(unfinished / VOCABULARY_NAME),
        dense_encoding=config.dense_encoding,
        dense_scales=tuple([scale.center, scale.divisor] for scale in encoder.dense_scales),
        rows_per_record=config.line_per_sample,
        lines=rows.lines,
        bad_lines=dict(sorted(rows.bad_lines.counts.items())),
        first_bad_lines=tuple(rows.bad_lines.first),
        splits=split_metas,
        fields=tuple(dataclasses.asdict(field) for field in fields),
        settings=result_settings(config),
    )
    folder.finish(meta)


def result_settings(config, keys=RESULT_SETTINGS):
    """Return the settings that a result depends on, by key."""
    return {key: getattr(config, key) for key in keys}


def size_work(source, memory_limit):
    """Return how many bytes of text to parse at once, and the bits of a key that number the buckets.

    memory_limit: GiB that may be used beside what the distinct values need.
    """
    limit = memory_limit * GIB
    bucket_bits = math.ceil(math.log2(max(text_size(source) / (limit * BUCKET_SHARE), 1)))
    block_bytes = min(max(int(limit * BLOCK_SHARE), LEAST_BLOCK_BYTES), LARGEST_BLOCK_BYTES)
    return block_bytes, min(max(bucket_bits, LEAST_BUCKET_BITS), MOST_BUCKET_BITS)


def text_size(source):
    """Return how many bytes of text a raw file holds, about."""
    return source.stat().st_size * (COMPRESSION if source.suffix == ".gz" else 1)


class RowSummary:
    """What was seen while the rows were read.

    largest_id: -1 unless the categories already are ids.  split_labels: for each split how often each label occurs.
    """

    def __init__(self, schema):
        self.schema = schema
        self.train_stats = FeatureStats(schema)
        self.bad_lines = BadLines()
        self.lines = 0
        self.largest_id = -1
        self.split_labels = {split: Counter() for split in SPLITS}

    @property
    def good_lines(self):
        return self.lines - self.bad_lines.count

    def add_rows(self, frame, parts):
        """Take in good rows; parts: for each split its slice of them."""
        self.train_stats.update(frame[parts["train"]])
        for split, part in parts.items():
            self.split_labels[split].update(dict(frame[LABEL][part].value_counts().iter_rows()))
        if self.schema.categories_are_ids and frame.height:
            self.largest_id = max(self.largest_id, *frame.select(pl.max(self.schema.category_names)).row(0))

    def add_lines(self, count, bad_lines):
        """Take in the number of lines of a block and those that were malformed."""
        self.lines += count
        self.bad_lines.merge(bad_lines)


def read_rows(source, schema, splits, spill, block_bytes, expected_lines):
    """Parse what is not yet in the Spill, and count; return the RowSummary."""
    summary = RowSummary(schema)
    progress = Progress("read", expected_lines)
    for note in spill.notes:
        summary.add_lines(note["lines"], BadLines.of_dict(note["bad_lines"]))
    if spill.notes:
        progress.advance(summary.lines, "some of it by an earlier run")
        for frame in spill.buckets():
            summary.add_rows(frame, splits.cut(frame[KEY].to_numpy()))
    blocks = in_background(read_blocks(source, block_bytes, skip_bytes=sum(note["bytes"] for note in spill.notes)))
    for frame, note, bad_lines in in_background(parse_blocks(blocks, schema, splits, summary.lines)):
        summary.add_rows(frame, splits.cut(frame[KEY].to_numpy()))
        summary.add_lines(note["lines"], bad_lines)
        spill.add(frame, note)
        progress.advance(note["lines"])
    progress.close()
    return summary


def parse_blocks(blocks, schema, splits, first_line):
    """Yield for each block its good rows, sorted by key, a note of it for the spill, and its BadLines."""
    for block in blocks:
        bad_lines = BadLines()
        frame, line_count = parse_block(block, first_line, schema, bad_lines)
        keys = pl.Series(KEY, splits.keys(frame[KEY].to_numpy()))
        note = {"bytes": len(block), "lines": line_count, "bad_lines": bad_lines.to_dict()}
        yield frame.with_columns(keys).sort(KEY), note, bad_lines
        first_line += line_count


def write_splits(spill, folder, encoder, splits, rows_per_record, row_count, test_ids):
    """Encode and pack the rows of the Spill; return the SplitMeta of each split.  test_ids: counts those of test."""
    from src.record_writer import SplitWriter  # MindSpore takes seconds to import: not before the rows are known good

    columns = ["sparse_ids", *(["dense_values"] if encoder.dense_scales else []), "label"]
    writers = {split: SplitWriter(folder, split, rows_per_record, columns) for split in SPLITS}
    progress = Progress("write", row_count)
    for keys, values in in_background(encode_buckets(spill, encoder)):
        parts = splits.cut(keys)
        test_ids.add(values["sparse_ids"][parts["test"]])
        for split, part in parts.items():
            writers[split].add({name: values[name][part] for name in columns})
        progress.advance(len(keys))
    progress.close()
    return {split: writer.close() for split, writer in writers.items()}


def encode_buckets(spill, encoder):
    """Yield for each bucket its sorted keys, uint64 [n], and the columns of a record by name."""
    for rows in in_background(spill.buckets()):
        sparse_ids, dense_values = encoder.encode(rows)
        labels = rows[LABEL].to_numpy().astype(np.float32)
        yield rows[KEY].to_numpy(), {"sparse_ids": sparse_ids, "dense_values": dense_values, "label": labels}


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


if __name__ == "__main__":
    exit_on_user_error(main)
