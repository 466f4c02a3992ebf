# SPDX-License-Identifier: Apache-2.0
"""From the configuration to what preprocessing is to do: the schema, the splits, the settings of a result, its path."""

import dataclasses
import pathlib

from src.common.errors import UserError
from src.config import SETTINGS, Config, Role, keys_of
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.preprocessing.reused_encoding import VOCABULARY_FLAG
from src.preprocessing.schema import FieldSchema
from src.preprocessing.schema_file import describe_schema, load_schema
from src.preprocessing.source import Source

BY_TIME = "time"  # of --split
# Settings that the parsed rows depend on, and all that the result does; the others only say where and how.
PARSED_ROW_KEYS = keys_of(Role.PARSED_ROWS)
RESULT_KEYS = keys_of(Role.PARSED_ROWS, Role.MINDRECORD)
# Settings that are recorded only with other values than these: results from before these settings existed stay valid.
UNRECORDED = {key: setting.unrecorded for key, setting in SETTINGS.items() if setting.unrecorded is not None}


def check_ratios(config: Config) -> None:
    """Raise UserError unless the splits leave rows to train on, which new rows for an old vocabulary need not have."""
    valid_ratio, test_ratio = split_ratios(config)
    if valid_ratio + test_ratio >= 1 and config.vocabulary_path is None:
        raise UserError(f"--valid_ratio={valid_ratio} and --test_ratio={test_ratio} must leave rows to train on")
    if valid_ratio + test_ratio > 1:
        raise UserError(f"--valid_ratio={valid_ratio} and --test_ratio={test_ratio} must be at most 1 together")


def split_ratios(config: Config) -> tuple[float, float]:
    """Return the fractions of the rows of --data_path in the validation and in the test split."""
    return (
        0.0 if config.valid_path is not None else config.valid_ratio,
        0.0 if config.test_path is not None else config.test_ratio,
    )


def output_path(config: Config) -> pathlib.Path:
    """Return the path of the MindRecord folder."""
    if config.output_dir is None:
        data_path = pathlib.Path(config.data_path)
        return (data_path if data_path.is_dir() else Source.find(config.data_path).files[0].parent) / "mindrecord"
    path = pathlib.Path(config.output_dir)
    return path.resolve() if path.is_symlink() else path


def result_settings(config: Config) -> dict:
    """Return the settings that a result depends on, by key; the schema instead of the path of its file."""
    settings = _settings(config, RESULT_KEYS)
    if config.vocabulary_path is not None:
        data = DatasetMeta.load(config.vocabulary_path, VOCABULARY_FLAG)
        settings["vocabulary"] = DataIdentity.of_dataset(data).digest()
    return settings


def parsed_row_settings(config: Config) -> dict:
    """Return those that the parsed rows depend on."""
    return _settings(config, PARSED_ROW_KEYS)


def _settings(config, keys):
    settings = {key: getattr(config, key) for key in keys}
    if config.schema_path is not None:
        schema = find_schema(config)
        columns = {"dense_dim": len(schema.integer_names), "slot_dim": len(schema.category_names)}
        settings |= {**columns, "schema": describe_schema(schema)}
    return {key: value for key, value in settings.items() if key not in UNRECORDED or value != UNRECORDED[key]}


def find_schema(config: Config) -> FieldSchema:
    """Return the schema of the raw rows; UserError for one that leaves no sparse field."""
    if config.schema_path is None:
        return FieldSchema.criteo(config.dense_dim, config.slot_dim, config.skip_id_convert, config.negative_label)
    schema = load_schema(config.schema_path)
    if config.split != BY_TIME:
        schema = dataclasses.replace(schema, time_name=None)  # which then is not read
    if config.skip_id_convert and schema.list_names:
        raise UserError(f"{config.schema_path}: --skip_id_convert=True is not for multi-valued categories")
    if not schema.sparse_names and not config.dense_encoding.has_buckets:
        raise UserError(
            f"{config.schema_path} with --dense_encoding={config.dense_encoding} leaves no sparse field: without "
            "categories it must be bucket or log+bucket"
        )
    return dataclasses.replace(schema, categories_are_ids=config.skip_id_convert)
