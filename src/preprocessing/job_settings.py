# SPDX-License-Identifier: Apache-2.0
"""From the configuration to what preprocessing is to do: the schema, the splits, the settings of a result, its path."""

import dataclasses
import pathlib

from src.common.errors import UserError
from src.config import SETTINGS, Config, Role, keys_of
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.preprocessing.reused_encoding import VOCABULARY_FLAG, with_encoding_settings
from src.preprocessing.schema import FieldSchema
from src.preprocessing.schema_file import describe_schema, load_schema
from src.preprocessing.source import Source

BY_TIME = "time"  # of --split
# Settings that the parsed rows depend on, and all that the result does; the others only say where and how.
PARSED_ROW_KEYS = keys_of(Role.PARSED_ROWS)
RESULT_KEYS = keys_of(Role.PARSED_ROWS, Role.MINDRECORD)
# Settings that are recorded only with other values than these: results from before these settings existed stay valid.
UNRECORDED = {key: setting.unrecorded for key, setting in SETTINGS.items() if setting.unrecorded is not None}


@dataclasses.dataclass(frozen=True)
class Request:
    """What a configuration asks for; the files that it names are read once, as they may change during the work.

    config: with the encoding settings of --vocabulary_path, if there is one.  earlier: that MindRecord folder.
    """

    config: Config
    source: Source
    schema: FieldSchema
    earlier: DatasetMeta | None

    @classmethod
    def of(cls, config: Config) -> "Request":
        """Read the files; UserError names what is wrong with them or with the splits."""
        _check_ratios(config)
        earlier = None
        if config.vocabulary_path is not None:
            earlier = DatasetMeta.load(config.vocabulary_path, VOCABULARY_FLAG)
            config = with_encoding_settings(config, earlier)
        source = Source.find_splits(config.data_path, config.valid_path, config.test_path)
        return cls(config, source, _find_schema(config), earlier)

    @property
    def output_path(self) -> pathlib.Path:
        """The path of the MindRecord folder."""
        if self.config.output_dir is None:
            data_path = pathlib.Path(self.config.data_path)
            return (data_path if data_path.is_dir() else self.source.files[0].parent) / "mindrecord"
        path = pathlib.Path(self.config.output_dir)
        return path.resolve() if path.is_symlink() else path

    @property
    def result_settings(self) -> dict:
        """The settings that a result depends on, by key; the schema instead of the path of its file."""
        settings = self._settings(RESULT_KEYS)
        if self.earlier is not None:
            settings["vocabulary"] = DataIdentity.of_dataset(self.earlier).digest()
        return settings

    @property
    def parsed_row_settings(self) -> dict:
        """Those that the parsed rows depend on."""
        return self._settings(PARSED_ROW_KEYS)

    def _settings(self, keys):
        settings = {key: getattr(self.config, key) for key in keys}
        if self.config.schema_path is not None:
            schema = self.schema
            columns = {"dense_dim": len(schema.integer_names), "slot_dim": len(schema.category_names)}
            settings |= {**columns, "schema": describe_schema(schema)}
        return {key: value for key, value in settings.items() if key not in UNRECORDED or value != UNRECORDED[key]}


def split_ratios(config: Config) -> tuple[float, float]:
    """Return the fractions of the rows of --data_path in the validation and in the test split."""
    return (
        0.0 if config.valid_path is not None else config.valid_ratio,
        0.0 if config.test_path is not None else config.test_ratio,
    )


def _check_ratios(config: Config) -> None:
    """Raise UserError unless the splits leave rows to train on, which new rows for an old vocabulary need not have."""
    valid_ratio, test_ratio = split_ratios(config)
    if valid_ratio + test_ratio >= 1 and config.vocabulary_path is None:
        raise UserError(f"--valid_ratio={valid_ratio} and --test_ratio={test_ratio} must leave rows to train on")
    if valid_ratio + test_ratio > 1:
        raise UserError(f"--valid_ratio={valid_ratio} and --test_ratio={test_ratio} must be at most 1 together")


def _find_schema(config: Config) -> FieldSchema:
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
            "categories it must be log+bin or bin"
        )
    return dataclasses.replace(schema, categories_are_ids=config.skip_id_convert)
