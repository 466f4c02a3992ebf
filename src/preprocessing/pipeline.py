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

from src.common.accelerators import find_accelerator
from src.common.dense_encoding import DenseEncoding
from src.common.errors import UserError
from src.common.files import file_sha256
from src.common.memory_estimate import NetworkSizes, training_bytes
from src.common.memory_limits import TRAINING, Work, check_fits, training_advice
from src.config import AUTO, SETTINGS, Config, Role, keys_of
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta, SplitMeta
from src.preprocessing.cluster.plan import digest_of, holds_pieces
from src.preprocessing.cluster.storage import storage_at
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.field_report import FieldReport, describe_dataset, describe_estimate, report_fields
from src.preprocessing.raw_file import find_source, text_bytes
from src.preprocessing.reading import RowSummary
from src.preprocessing.result_folder import ResultFolder, identify
from src.preprocessing.schema import FieldSchema
from src.preprocessing.spill import Spill
from src.preprocessing.splits import KeySplits
from src.preprocessing.stages import Job, SingleProcess, Stages
from src.preprocessing.vocabulary import check_ids

SPILL_NAME = "spill"  # in the work folder
# Settings that the parsed rows depend on, and all that the result does; the others only say where and how.
SPILL_SETTINGS = keys_of(Role.PARSED_ROWS)
RESULT_SETTINGS = keys_of(Role.PARSED_ROWS, Role.MINDRECORD)
# Settings that are recorded only with other values than these: results from before these settings existed stay valid.
UNRECORDED = {key: setting.unrecorded for key, setting in SETTINGS.items() if setting.unrecorded is not None}


def make_records(config: Config) -> pathlib.Path:
    """Make the MindRecord folder of a configuration, unless it is there; describe it and return its path."""
    if config.valid_ratio + config.test_ratio >= 1:
        raise UserError(
            f"--valid_ratio={config.valid_ratio} and --test_ratio={config.test_ratio} must leave rows to train on"
        )
    source = find_source(config.data_path)
    folder = ResultFolder(output_path(config), identify(source), result_settings(config))
    if folder.is_committed():  # perhaps on a read-only disk
        print(f"{folder.path} was made from this file with these settings already")
    else:
        folder.check_target(overwrite=config.overwrite)
        flag = "data_path" if config.output_dir is None else "output_dir"
        with folder.exclusive(flag, f"--{flag}={getattr(config, flag)}"):
            if not folder.is_committed():  # by a run that has just ended
                folder.check_target(overwrite=config.overwrite)
                preprocess(source, folder, config)
    print(describe_dataset(DatasetMeta.load(folder.path), folder.path, config.train_line_count))
    if not config.enable_modelarts and not _is_same_path(folder.path, config.dataset_path):
        print(f"note: the MindRecord files are in {folder.path}; train.py reads them with --dataset_path={folder.path}")
    return folder.path


def output_path(config: Config) -> pathlib.Path:
    """Return the path of the MindRecord folder."""
    if config.output_dir is None:
        return pathlib.Path(config.data_path, "mindrecord")
    path = pathlib.Path(config.output_dir)
    return path.resolve() if path.is_symlink() else path


def _is_same_path(path, other):
    return os.path.realpath(path) == os.path.realpath(other)


def result_settings(config: Config, keys: tuple[str, ...] = RESULT_SETTINGS) -> dict:
    """Return the settings that a result depends on, by key."""
    settings = {key: getattr(config, key) for key in keys}
    return {key: value for key, value in settings.items() if key not in UNRECORDED or value != UNRECORDED[key]}


def preprocess(source: pathlib.Path, folder: ResultFolder, config: Config) -> None:
    """Make the ResultFolder from the raw file; the work of an earlier run that did not finish is used."""
    spill = _spill_address(folder, config)
    with _kept_work_is_named(folder, spill):
        if not folder.is_finished():
            _run_stages(source, folder, spill, config)
        storage_at(spill).remove()
        folder.commit()


def _spill_address(folder: ResultFolder, config: Config) -> str:
    """Return the path or address of the folder of the parsed rows, which no other job has."""
    if config.spill_path is None:
        return _own_spill(folder)
    job = [os.path.abspath(folder.path), folder.source, result_settings(config, SPILL_SETTINGS)]
    return f"{config.spill_path.rstrip('/')}/deepfm-{digest_of(json.dumps(job))}"


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


def _run_stages(source: pathlib.Path, folder: ResultFolder, spill: str, config: Config) -> None:
    job = _job(source, folder, spill, config)
    schema = job.schema
    field_count = config.slot_dim + 2 * config.dense_dim
    print(describe_estimate(source, text_bytes(source), field_count, config.memory_limit, folder.partial), flush=True)
    with _open_stages(job, config) as stages:
        with _discarded_if_refused(folder, spill):
            rows = stages.read()
            check_splits(source, rows.split_labels, config)
        encoding = DenseEncoding(config.dense_encoding)
        check_ids(rows.largest_id + 1, config.dense_dim if encoding.has_buckets else 0)
        counts = stages.count(rows)
        encoder = FeatureEncoder.fit(
            schema,
            counts,
            rows.count("train"),
            encoding,
            config.threshold,
            config.max_vocab_size,
            first_id=rows.largest_id + 1,
        )
        check_training_fits(encoder, rows, config)
        unfinished = folder.start()
        encoder.vocabulary.save(unfinished / VOCABULARY_NAME)
        written = stages.write(encoder, rows, unfinished)
    fields = report_fields(counts, encoder.vocabulary, written.test_counts, rows.count("train"), rows.count("test"))
    folder.finish(dataset_meta(unfinished, encoder, rows, written.metas, fields, config))
    if rows.bad_lines.count:
        print(f"note: malformed lines were left out: {rows.describe_bad_lines(schema.negative_label)}")


def _job(source, folder, spill, config):
    return Job(
        source=source,
        schema=FieldSchema(config.dense_dim, config.slot_dim, config.skip_id_convert, config.negative_label),
        splits=KeySplits.from_ratios(config.split_seed, config.valid_ratio, config.test_ratio),
        spill=spill,
        identity={**folder.source, **result_settings(config, SPILL_SETTINGS)},
        max_bad_line_ratio=config.max_bad_line_ratio,
        threshold=config.threshold,
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
    config: Config,
) -> DatasetMeta:
    """Return the metadata of the shards and the vocabulary in `folder`."""
    return DatasetMeta(
        path=folder,
        sparse_fields=tuple(encoder.sparse_names),
        dense_fields=tuple(encoder.dense_names),
        vocabulary_size=vocabulary_size(rows, encoder),
        vocabulary_sha256=file_sha256(folder / VOCABULARY_NAME),
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


def check_splits(source: pathlib.Path, split_labels: dict[str, Counter], config: Config) -> None:
    """Raise UserError if a split lacks one of the labels: nothing can be learned from it or evaluated on it."""
    is_used = {"train": True, "valid": config.valid_ratio > 0, "test": config.test_ratio > 0}
    for split, labels in split_labels.items():
        if is_used[split] and not (labels[0] and labels[1]):
            raise UserError(
                f"{source}: of the {labels.total()} rows of the {split} split {labels[1]} have label 1; both labels "
                "must occur: use more rows, or another --valid_ratio or --test_ratio"
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
        config.hidden_sizes,
    )  # fmt: skip
    cells = rows.lines * len(encoder.schema.category_names) if config.skip_id_convert else None
    advice = f"{training_advice(sizes, cells)}; to train on another machine, add --device_target=Ascend or GPU"
    needed = training_bytes(sizes, config.batch_size, config.l2_coef, config.clip_norm, config.ema_decay)
    check_fits(Work(TRAINING, sizes, needed), device, advice, is_planned=True)
