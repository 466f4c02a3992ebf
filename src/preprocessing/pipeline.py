# SPDX-License-Identifier: Apache-2.0
"""From raw Criteo rows to MindRecord.

The text is read once.  Each row gets a key, by which rows are split and ordered, and the parsed rows go to disk, column
by column.  Then the values of the training set are counted, one column after the other, and ranges of keys are sorted,
encoded and packed.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from src.common.accelerators import find_accelerator
from src.common.dense_encoding import DenseEncoding
from src.common.errors import UserError
from src.common.files import file_sha256
from src.common.memory_estimate import NetworkSizes, training_bytes
from src.common.memory_limits import TRAINING, Work, check_fits, training_advice
from src.config import AUTO, Config
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta, SplitMeta
from src.preprocessing.boundaries import TimeSplit
from src.preprocessing.cluster.plan import digest_of, holds_pieces
from src.preprocessing.cluster.storage import storage_at
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.field_report import FieldReport, describe_dataset, describe_estimate, report_fields
from src.preprocessing.job_settings import BY_TIME, Request, split_ratios
from src.preprocessing.lists import MOST_VALUES
from src.preprocessing.reading import RowSummary
from src.preprocessing.result_folder import ResultFolder
from src.preprocessing.reused_encoding import load_encoder
from src.preprocessing.schema import LARGEST_ID, FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits
from src.preprocessing.stages import Job, SingleProcess, Stages
from src.preprocessing.value_counts import ValueCounts
from src.preprocessing.vocabulary import check_ids

SPILL_NAME = "spill"  # in the work folder


def make_records(config: Config) -> pathlib.Path:
    """Make the MindRecord folder of a configuration, unless it is there; describe it and return its path."""
    request = Request.of(config)
    folder = ResultFolder(request.output_path, request.source.identity(), request.result_settings)
    if folder.is_committed():  # perhaps on a read-only disk
        print(f"{folder.path} was made from this file with these settings already")
    else:
        folder.check_target(overwrite=config.overwrite)
        flag = "data_path" if config.output_dir is None else "output_dir"
        with folder.exclusive(flag, f"--{flag}={getattr(config, flag)}"):
            if not folder.is_committed():  # by a run that has just ended
                folder.check_target(overwrite=config.overwrite)
                preprocess(request, folder)
    print(describe_dataset(DatasetMeta.load(folder.path), folder.path, config.train_line_count))
    if not config.enable_modelarts and not _is_same_path(folder.path, config.dataset_path):
        print(f"note: the MindRecord files are in {folder.path}; train.py reads them with --dataset_path={folder.path}")
    return folder.path


def _is_same_path(path, other):
    return os.path.realpath(path) == os.path.realpath(other)


def preprocess(request: Request, folder: ResultFolder) -> None:
    """Make the ResultFolder from the raw rows; the work of an earlier run that did not finish is used."""
    spill = _spill_address(request, folder)
    with _kept_work_is_named(folder, spill):
        if not folder.is_finished():
            _run_stages(request, folder, spill)
        storage_at(spill).remove()
        folder.commit()


def _spill_address(request: Request, folder: ResultFolder) -> str:
    """Return the path or address of the folder of the parsed rows, which no other job has."""
    if request.config.spill_path is None:
        return _own_spill(folder)
    job = [os.path.abspath(folder.path), folder.source, request.parsed_row_settings]
    return f"{request.config.spill_path.rstrip('/')}/deepfm-{digest_of(json.dumps(job))}"


def _own_spill(folder):
    return str(folder.partial / SPILL_NAME)


@contextlib.contextmanager
def _kept_work_is_named(folder: ResultFolder, spill: str) -> Iterator[None]:
    """After an error, remove the work if it holds nothing to resume from; else name its folder in the error."""
    try:
        yield
    except (UserError, OSError) as error:
        if not (folder.is_finished() or _holds_rows(spill)):
            _discard(folder, spill)
            raise
        place = folder.partial if spill == _own_spill(folder) else spill
        if isinstance(error, UserError):
            kept = f"the parsed rows are kept in {place}: use them with other settings, or delete them"
            raise UserError(f"{error}; {kept}") from error
        kept = f"The work so far is kept in {place}: run the same command again to resume, or delete it"
        raise OSError(f"{error}. {kept}") from error


@contextlib.contextmanager
def _discarded_if_refused(folder: ResultFolder, spill: str) -> Iterator[None]:
    """After a UserError, remove the work: the parsed rows are of no use."""
    try:
        yield
    except UserError:
        _discard(folder, spill)
        raise


def _holds_rows(spill: str) -> bool:
    """Tell whether there are parsed rows at a path or address; not if that cannot be found out."""
    try:
        return Spill.holds_chunks(pathlib.Path(spill)) or holds_pieces(storage_at(spill))
    except OSError:
        return False


def _discard(folder: ResultFolder, spill: str) -> None:
    """Remove the work."""
    folder.discard()
    with contextlib.suppress(OSError):  # an earlier error is on its way to the user
        storage_at(spill).remove()


def _run_stages(request: Request, folder: ResultFolder, spill: str) -> None:
    config, schema, encoder = request.config, request.schema, None
    if request.earlier is not None:  # before the work, as it may be of other columns
        encoder = load_encoder(request.earlier, schema)
        schema = encoder.schema
    job = _job(request, schema, folder, spill)
    field_count = len(schema.sparse_names) + 2 * len(schema.dense_names)
    print(describe_estimate(request.source, schema, field_count, config.memory_limit, folder.partial), flush=True)
    with _open_stages(job, config) as stages:
        with _discarded_if_refused(folder, spill):
            rows = stages.read()
            check_splits(request.source, rows.split_labels, config)
        if encoder is None:
            check_ids(rows.largest_id + 1, len(schema.dense_names) if config.dense_encoding.has_buckets else 0)
        elif schema.categories_are_ids:
            rows.largest_id = schema.largest_id
        counts = stages.count(rows)
        encoder = encoder or fit_encoder(schema, counts, rows, config)
        check_training_fits(encoder, rows, config)
        unfinished = folder.start()
        encoder.vocabulary.save(unfinished / VOCABULARY_NAME)
        written = stages.write(encoder, rows, unfinished)
    fields = describe_fields(encoder, counts, rows, written.test_counts, request.earlier)
    folder.finish(dataset_meta(unfinished, encoder, rows, written.metas, fields, request))
    if rows.bad_lines.count:
        print(f"note: malformed lines were left out: {rows.describe_bad_lines(schema.negative_label)}")


def fit_encoder(
    schema: FieldSchema, counts: dict[str, ValueCounts], rows: RowSummary, config: Config
) -> FeatureEncoder:
    """Return the encoder that the training set gives."""
    return FeatureEncoder.fit(
        schema,
        counts,
        DenseEncoding(config.dense_encoding),
        config.threshold,
        config.max_vocab_size,
        first_id=rows.largest_id + 1,
        list_lengths={name: min(max(rows.longest_lists[name], 1), MOST_VALUES) for name in schema.list_names},
    )


def describe_fields(
    encoder: FeatureEncoder,
    counts: dict[str, ValueCounts],
    rows: RowSummary,
    test_counts: np.ndarray,
    earlier: DatasetMeta | None,
) -> tuple[FieldReport, ...]:
    """Return the FieldReports; without rows to train on, the training set is that of --vocabulary_path.

    test_counts: as report_fields takes them.  earlier: the folder of --vocabulary_path.
    """
    if earlier is None:
        return report_fields(counts, encoder.vocabulary, test_counts, rows.count("train"))
    if rows.count("train"):
        return report_fields(counts, encoder.recounted(counts), test_counts, rows.count("train"))
    known = {field["name"]: field for field in earlier.fields}
    return tuple(
        dataclasses.replace(
            field, distinct=known[field.name]["distinct"], missing_rate=known[field.name]["missing_rate"]
        )
        for field in report_fields(counts, encoder.vocabulary, test_counts, 0)
    )


def _job(request, schema, folder, spill):
    config, source = request.config, request.source
    ratios = split_ratios(config)
    identity = {**folder.source, **request.parsed_row_settings}
    if schema.largest_id != LARGEST_ID:  # of --vocabulary_path: rows with larger ones are malformed
        identity["largest_id"] = schema.largest_id
    splits = KeySplits.from_ratios(config.split_seed, *ratios, config.negative_keep_rate)
    return Job(
        source=source,
        schema=schema,
        splits=splits.with_files(*source.own_fractions) if any(source.own_counts) else splits,
        time_split=TimeSplit(*ratios) if config.split == BY_TIME else None,
        spill=spill,
        identity=identity,
        max_bad_line_ratio=config.max_bad_line_ratio,
        threshold=config.threshold if config.vocabulary_path is None else 0,
        rows_per_record=config.line_per_sample,
        memory_limit=config.memory_limit,
    )


@contextlib.contextmanager
def _open_stages(job: Job, config: Config) -> Iterator[Stages]:
    """Yield the stages of this process or, if the configuration names workers, of a cluster."""
    if config.scheduler is None and not config.workers:
        yield SingleProcess(job)
        return
    try:
        from src.preprocessing.cluster.cluster_stages import ClusterStages
        from src.preprocessing.cluster.connection import connected
    except ModuleNotFoundError as error:
        raise UserError(
            f"--scheduler and --workers need the package {error.name}: pip install -r requirements-dask.txt"
        ) from None
    with connected(config.scheduler, config.workers) as connection:
        yield ClusterStages(job, connection)


def dataset_meta(
    folder: pathlib.Path,
    encoder: FeatureEncoder,
    rows: RowSummary,
    split_metas: dict[str, SplitMeta],
    fields: tuple[FieldReport, ...],
    request: Request,
) -> DatasetMeta:
    """Return the metadata of the shards and the vocabulary in `folder`."""
    return DatasetMeta(
        path=folder,
        sparse_fields=tuple(encoder.sparse_names),
        dense_fields=tuple(encoder.dense_names),
        vocabulary_size=vocabulary_size(rows, encoder),
        vocabulary_sha256=file_sha256(folder / VOCABULARY_NAME),
        dense_encoding=encoder.dense_encoding,
        dense_scales=tuple([scale.center, scale.divisor] for scale in encoder.dense_scales),
        rows_per_record=request.config.line_per_sample,
        lines=rows.lines,
        bad_lines=dict(sorted(rows.bad_lines.counts.items())),
        first_bad_lines=tuple(line.to_list() for line in rows.bad_lines.first),
        splits=split_metas,
        fields=tuple(dataclasses.asdict(field) for field in fields),
        settings=request.result_settings,
        bucket_edges=encoder.bucket_edges,
        list_lengths=encoder.list_lengths,
        left_out=rows.left_out,
    )


def check_splits(source: Source, split_labels: dict[str, Counter], config: Config) -> None:
    """Raise UserError if a split lacks one of the labels: nothing can be learned from it or evaluated on it."""
    valid_ratio, test_ratio = split_ratios(config)
    is_used = {
        "train": valid_ratio + test_ratio < 1,
        "valid": valid_ratio > 0 or config.valid_path is not None,
        "test": test_ratio > 0 or config.test_path is not None,
    }
    own_paths = {"valid": config.valid_path, "test": config.test_path}
    for split, labels in split_labels.items():
        if is_used[split] and not (labels[0] and labels[1]):
            fix = "another --valid_ratio or --test_ratio"
            if own_paths.get(split) is not None:
                fix = f"another --{split}_path"
            elif config.split == BY_TIME and not labels.total():
                fix += "; rows of one time are in one split"
            elif split == "train" and labels[1] and config.negative_keep_rate < 1:
                fix = f"a --negative_keep_rate above {config.negative_keep_rate}"
            raise UserError(
                f"{source}: of the {labels.total()} rows of the {split} split {labels[1]} have label 1; both labels "
                f"must occur: use more rows, or {fix}"
            )


def vocabulary_size(rows: RowSummary, encoder: FeatureEncoder) -> int:
    """Return the number of ids: those that the categories are already, and those of the vocabulary."""
    return rows.largest_id + 1 + len(encoder.vocabulary)


def check_training_fits(encoder: FeatureEncoder, rows: RowSummary, config: Config) -> None:
    """Print the memory that training on the result takes; UserError if it would run on this machine and cannot."""
    device = config.device_target
    if device == AUTO:
        device = find_accelerator() or "CPU"
    sizes = NetworkSizes(
        vocabulary_size(rows, encoder), len(encoder.sparse_names), len(encoder.dense_scales), config.embedding_size,
        config.hidden_sizes, tuple(encoder.list_lengths.values()),
    )  # fmt: skip
    cells = rows.lines * len(encoder.schema.category_names) if config.skip_id_convert else None
    advice = f"{training_advice(sizes, cells)}; to train on another machine, add --device_target=Ascend or GPU"
    clipping = max(config.clip_norm, config.cowclip_ratio)
    needed = training_bytes(sizes, config.batch_size, config.l2_coef, clipping, config.ema_decay)
    check_fits(Work(TRAINING, sizes, needed), device, advice, is_planned=True)
