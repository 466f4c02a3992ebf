# SPDX-License-Identifier: Apache-2.0
"""From raw Criteo rows to MindRecord.

The text is read once.  Each row gets a key, SplitMix64 of its line number; the order of the keys is the order of the
rows in the result, and the ends of the key range are the valid and the test split.  Parsed rows go to disk, column by
column.  Then the train values of one column after the other are counted, and ranges of keys sorted, encoded and packed.
"""

import dataclasses
import glob
import itertools
import math
import operator
import os
import pathlib
from collections import Counter

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.common.files import file_sha256
from src.common.memory_estimate import NetworkSizes, training_bytes
from src.common.memory_limits import TRAINING, Work, check_fits, training_advice
from src.common.progress import Progress
from src.common.splitmix import splitmix64
from src.config import AUTO
from src.dataset_meta import SPLITS, VOCABULARY_NAME, DatasetMeta
from src.preprocessing.bad_lines import BadLines
from src.preprocessing.encoder import KEY, LABEL, FeatureEncoder, FieldSchema, check_ids
from src.preprocessing.field_report import IdCounter, describe, estimate, report_fields
from src.preprocessing.prefetch import in_background, map_ahead
from src.preprocessing.raw_rows import count_lines, find_source, parse_block, read_blocks
from src.preprocessing.result_folder import ResultFolder, exclusive_run, identify
from src.preprocessing.spill import KEY_BITS, Spill
from src.preprocessing.value_counts import count_values

GIB = 1 << 30
BLOCK_SHARE, LEAST_BLOCK_BYTES, LARGEST_BLOCK_BYTES = 1 / 32, 1 << 16, 24 << 20  # malloc is slower from 32 << 20 on
BUCKET_SHARE, MOST_BUCKET_BITS = 1 / 8, 10
MOST_CACHE_BITS = 7  # more buckets would only make for small reads
WORKERS = 3  # threads that parse or encode; one more than two cores keeps both busy
ENCODED_ROWS = 1 << 18  # at once: less memory than a bucket, and enough to outweigh building the lookups
COUNTED_VALUE_BYTES = 64  # while values are counted, at the most
SPILL_NAME = "spill"  # in the work folder
COMPRESSION = 2.4  # raw rows are as many times as large as dac.tar.gz
LARGEST_COUNT = 1 << 31  # values that polars takes at once; it numbers the rows of a frame in 32 bits
# Reading stops early at so many times the permitted malformed lines: the number of lines is an estimate then.
HOPELESS = 4
# What the parsed rows and the result depend on beside the file; the other settings only say where and how.
SPILL_SETTINGS = (
    "dense_dim", "slot_dim", "skip_id_convert", "negative_label", "split_seed", "valid_ratio", "test_ratio",
)  # fmt: skip
RESULT_SETTINGS = (*SPILL_SETTINGS, "threshold", "max_vocab_size", "dense_encoding", "line_per_sample")
# Settings that are recorded only with other values than these: results from before these settings existed stay valid.
UNSAID = {"negative_label": 0}


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
        return {"train": slice(0, valid), "valid": slice(valid, test), "test": slice(test, len(sorted_keys))}


def make_records(config):
    """Make the MindRecord folder of settings, unless it is there; say what is in it and return its path."""
    if config.valid_ratio + config.test_ratio >= 1:
        raise UserError(
            f"--valid_ratio={config.valid_ratio} and --test_ratio={config.test_ratio} must leave rows to train on"
        )
    source = find_source(config.data_path)
    folder = ResultFolder(output_path(config), identify(source), result_settings(config))
    if not folder.is_made():  # a finished result can be on a read-only disk
        folder.check_free(config.overwrite)
        flag = "data_path" if config.output_dir is None else "output_dir"
        with exclusive_run(folder, flag, f"--{flag}={getattr(config, flag)}"):
            if not folder.is_made():
                folder.check_free(config.overwrite)
                preprocess(source, folder, config)
    else:
        print(f"{folder.path} was made from this file with these settings already")
    print(describe(DatasetMeta.load(folder.path), folder.path, config.train_line_count))
    if not config.enable_modelarts and not _is_same(folder.path, config.dataset_path):
        print(f"note: the MindRecord files are in {folder.path}; train.py reads them with --dataset_path={folder.path}")
    return folder.path


def output_path(config):
    """Return the MindRecord folder to write."""
    if config.output_dir is None:
        return pathlib.Path(config.data_path, "mindrecord")
    path = pathlib.Path(config.output_dir)
    return path.resolve() if path.is_symlink() else path


def _is_same(path, other):
    return os.path.realpath(path) == os.path.realpath(other)


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
        if not (folder.is_waiting() or any((folder.partial / SPILL_NAME).glob("block-*"))):
            folder.discard()
            raise
        place = f"{folder.partial}: run the same command again to resume, or delete it"
        raise OSError(f"{error}. What has been done is in {place}") from error


def _run_stages(source, folder, config):
    schema = FieldSchema(config.dense_dim, config.slot_dim, config.skip_id_convert, config.negative_label)
    splits = KeySplits.of_ratios(config.split_seed, config.valid_ratio, config.test_ratio)
    identity = {**folder.source, **result_settings(config, SPILL_SETTINGS)}
    field_count = config.slot_dim + 2 * config.dense_dim
    print(estimate(source, text_size(source), field_count, config.memory_limit, folder.partial), flush=True)
    spill = Spill(folder.partial / SPILL_NAME, identity)
    rows = read_rows(source, schema, splits, spill, block_size(config.memory_limit), config.max_bad_line_ratio)
    check_lines(source, rows, schema, config.max_bad_line_ratio)
    check_splits(source, rows.split_labels, config)
    check_ids(rows.largest_id + 1, config.dense_dim if "bucket" in config.dense_encoding else 0)
    counts = count_columns(spill, schema, rows, config.threshold, config.memory_limit)
    encoder = FeatureEncoder.fit(
        schema,
        counts,
        rows.count("train"),
        config.dense_encoding,
        config.threshold,
        config.max_vocab_size,
        first_id=rows.largest_id + 1,
    )
    check_training_fits(schema, encoder, rows, config)
    unfinished = folder.start()
    encoder.vocabulary.save(unfinished / VOCABULARY_NAME)
    test_ids = IdCounter(rows.largest_id + 1, len(encoder.vocabulary))
    buckets = spill.buckets(bucket_bits(source, rows.good_lines, config.memory_limit))
    split_metas = write_splits(buckets, unfinished, encoder, splits, config.line_per_sample, rows.good_lines, test_ids)
    fields = report_fields(counts, encoder.vocabulary, test_ids.counts, rows.count("train"), rows.count("test"))
    meta = DatasetMeta(
        sparse_fields=tuple(encoder.sparse_names),
        dense_fields=tuple(schema.integer_names[: len(encoder.dense_scales)]),
        vocabulary_size=vocabulary_size(rows, encoder),
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
    if rows.bad_lines.count:
        print(f"note: malformed lines were left out: {rows.describe_bad_lines(schema.negative_label)}")


def vocabulary_size(rows, encoder):
    """Return how many ids there are: those that the categories are already, and those of the vocabulary."""
    return rows.largest_id + 1 + len(encoder.vocabulary)


def check_training_fits(schema, encoder, rows, config):
    """Print what training on the result will take; UserError if it would run on this machine and cannot."""
    from src.distributed.device import DEVICE_FILES

    has_accelerator = any(glob.glob(pattern) for patterns in DEVICE_FILES.values() for pattern in patterns)
    device = config.device_target
    if device == AUTO:
        device = "an accelerator" if has_accelerator else "CPU"
    sizes = NetworkSizes(
        vocabulary_size(rows, encoder), len(encoder.sparse_names), len(encoder.dense_scales), config.embedding_size,
        config.hidden_sizes,
    )  # fmt: skip
    cells = rows.lines * len(schema.category_names) if config.skip_id_convert else None
    advice = f"{training_advice(sizes, cells)}; to train on another machine, add --device_target=Ascend or GPU"
    needed = training_bytes(sizes, config.batch_size, config.l2_coef, config.clip_norm, config.ema_decay)
    check_fits(Work(TRAINING, sizes, needed), device, advice, is_planned=True)


def result_settings(config, keys=RESULT_SETTINGS):
    """Return the settings that a result depends on, by key."""
    settings = {key: getattr(config, key) for key in keys}
    return {key: value for key, value in settings.items() if key not in UNSAID or value != UNSAID[key]}


def block_size(memory_limit):
    """Return how many bytes of text to parse at once.  memory_limit: GiB."""
    return min(max(int(memory_limit * GIB * BLOCK_SHARE), LEAST_BLOCK_BYTES), LARGEST_BLOCK_BYTES)


def bucket_bits(source, row_count, memory_limit):
    """Return how many bits of a key number the buckets of rows that are sorted at once.  memory_limit: GiB.

    They must fit into the memory; sorting is several times faster where a column fits into the processor's cache.
    """
    memory_bits = math.log2(max(text_size(source) / (memory_limit * GIB * BUCKET_SHARE), 1))
    cache_bits = min(math.log2(max(row_count / ENCODED_ROWS, 1)), MOST_CACHE_BITS)
    return min(math.ceil(max(memory_bits, cache_bits)), MOST_BUCKET_BITS)


def text_size(source):
    """Return how many bytes of text a raw file holds, about."""
    return source.stat().st_size * (COMPRESSION if source.suffix == ".gz" else 1)


class RowSummary:
    """What was seen while the rows were read.

    split_labels: for each split how often each label occurs.  block_train_rows: of each block in the spill.
    largest_id: -1 unless the categories already are ids.  is_all: whether all rows have been read.
    """

    def __init__(self):
        self.bad_lines = BadLines()
        self.lines = self.bytes = 0
        self.largest_id = -1
        self.is_all = False
        self.split_labels = {split: Counter() for split in SPLITS}
        self.block_train_rows = []

    def add(self, note):
        """Take in a block by its note, as parse_blocks makes it."""
        self.lines += note["lines"]
        self.bytes += note["bytes"]
        self.bad_lines.merge(BadLines.of_dict(note["bad_lines"]))
        self.largest_id = max(self.largest_id, note["largest_id"])
        self.block_train_rows.append(sum(note["labels"]["train"]))
        for split, counts in note["labels"].items():
            self.split_labels[split].update(dict(enumerate(counts)))

    @property
    def good_lines(self):
        return self.lines - self.bad_lines.count

    def describe_bad_lines(self, negative_label):
        """Return in one line what is wrong with the malformed lines, of which there are some."""
        good_labels = sorted(sum(self.split_labels.values(), Counter()))  # a sum of Counters leaves out what is 0
        return self.bad_lines.describe(self.lines, good_labels, negative_label, self.is_all)

    def count(self, split):
        """Return the number of rows of a split."""
        return self.split_labels[split].total()


def read_rows(source, schema, splits, spill, block_bytes, max_bad_line_ratio=1.0):
    """Parse what is not yet in the Spill; return the RowSummary.

    Raises UserError as soon as there are many more malformed lines than max_bad_line_ratio allows for all of the file.
    """
    summary = RowSummary()
    for note in spill.notes:
        summary.add(note)
    progress = Progress("read", 0, done=summary.lines)
    blocks = in_background(read_blocks(source, block_bytes, skip_bytes=summary.bytes))
    for frame, note in parse_blocks(blocks, schema, splits, summary.lines):
        spill.add(frame, note)
        summary.add(note)
        expected_lines = round(summary.lines / note["fraction"])
        progress.advance(note["lines"], total=expected_lines)
        if note["fraction"] < 1 and summary.bad_lines.count > HOPELESS * max_bad_line_ratio * expected_lines:
            check_lines(source, summary, schema, max_bad_line_ratio)
    progress.close()
    summary.is_all = True
    return summary


def parse_blocks(blocks, schema, splits, first_line):
    """Yield for each block its good rows, sorted by key, and a note of what RowSummary wants to know of it."""

    def parse(numbered_block):
        block, first_line = numbered_block
        bad_lines = BadLines()
        frame, line_count = parse_block(block.data, first_line, schema, bad_lines)
        keys = splits.keys(frame[KEY].to_numpy())
        frame = frame.with_columns(pl.Series(KEY, keys)).sort(KEY, multithreaded=False)  # the blocks have threads
        labels = frame[LABEL].to_numpy()
        parts = splits.cut(frame[KEY].to_numpy())
        ids = frame.select(schema.category_names if schema.categories_are_ids and frame.height else [])
        note = {
            "lines": line_count,
            "bytes": len(block.data),
            "fraction": block.fraction,
            "bad_lines": bad_lines.to_dict(),
            "labels": {split: np.bincount(labels[part], minlength=2).tolist() for split, part in parts.items()},
            "largest_id": max(ids.max().row(0), default=-1),
        }
        return frame, note

    return map_ahead(parse, number_lines(blocks, first_line), WORKERS)


def number_lines(blocks, first_line):
    """Yield each Block and the number of its first line."""
    for block in blocks:
        yield block, first_line
        first_line += count_lines(block.data)


def count_columns(spill, schema, rows, threshold, memory_limit):
    """Return the ValueCounts of the train rows by column: of integers all, of categories those above the threshold."""
    counts, at_once = {}, int(min(memory_limit * GIB / COUNTED_VALUE_BYTES, LARGEST_COUNT))
    progress = Progress("count", len(schema.counted_names), "fields")
    for name in schema.counted_names:
        least = threshold if name in schema.category_names else 0
        counts[name] = count_values(spill.column(name, rows.block_train_rows), least, at_once)
        progress.advance(1)
    progress.close()
    return counts


def write_splits(buckets, folder, encoder, splits, rows_per_record, row_count, test_ids):
    """Encode and pack buckets of rows; return the SplitMeta of each split.  test_ids: counts those of test."""
    # MindSpore takes seconds to import: not before the rows are known to be good.
    from src.preprocessing.record_writer import SplitWriter

    names = ["sparse_ids", *(["dense_values"] if encoder.dense_scales else []), "label"]
    writers = {split: SplitWriter(folder, split, rows_per_record, names) for split in SPLITS}
    progress = Progress("write", row_count)
    pieces = cut_buckets(encode_buckets(buckets, encoder), splits)
    for split, own in itertools.groupby(pieces, key=operator.itemgetter(0)):
        for _, columns in own:
            if split == "test":
                test_ids.add(columns["sparse_ids"])
            writers[split].add({name: columns[name] for name in names})
            progress.advance(len(columns["label"]))
        writers[split].close()
    progress.close()
    return {split: writer.meta() for split, writer in writers.items()}


def cut_buckets(encoded_buckets, splits):
    """Yield the rows of what encode_buckets yields as the name of their split and the columns of a record by name."""
    for keys, values in encoded_buckets:
        for split, part in splits.cut(keys).items():
            if part.start < part.stop:
                yield split, {name: column[part] for name, column in values.items()}


def encode_buckets(buckets, encoder):
    """Yield the sorted keys, uint64 [n], of a part of a bucket, and the columns of a record by name."""

    def encode(rows):
        sparse_ids, dense_values = encoder.encode(rows)
        labels = rows[LABEL].to_numpy().astype(np.float32)
        return rows[KEY].to_numpy(), {"sparse_ids": sparse_ids, "dense_values": dense_values, "label": labels}

    parts = (rows for bucket in in_background(buckets) for rows in bucket.iter_slices(ENCODED_ROWS))
    return map_ahead(encode, parts, WORKERS)


def check_lines(source, rows, schema, max_bad_line_ratio):
    """Refuse a file that is empty or has too many malformed lines."""
    if rows.lines == 0:
        raise UserError(f"{source} is empty")
    allowed = int(max_bad_line_ratio * rows.lines)
    if rows.bad_lines.count > allowed:
        wrong = rows.describe_bad_lines(schema.negative_label)
        raise UserError(f"{source}: {wrong}; --max_bad_line_ratio={max_bad_line_ratio} allows {allowed}")


def check_splits(source, split_labels, config):
    """Refuse splits that nothing can be learned from or scored on."""
    wanted = {"train": True, "valid": config.valid_ratio > 0, "test": config.test_ratio > 0}
    for split, labels in split_labels.items():
        if wanted[split] and not (labels[0] and labels[1]):
            raise UserError(
                f"{source}: of the {labels.total()} rows of the {split} split {labels[1]} have label 1; both labels "
                "must occur: use more rows, or another --valid_ratio or --test_ratio"
            )
