# SPDX-License-Identifier: Apache-2.0
"""The encoding of an earlier MindRecord folder, for other rows: a model of that folder scores them, too."""

import dataclasses

from src.common.dense_encoding import DenseEncoding
from src.common.errors import UserError
from src.common.files import file_sha256
from src.config import Config
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.preprocessing.encoder import DenseScale, FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.vocabulary import Vocabulary

ENCODING_KEYS = ("dense_encoding", "threshold", "max_vocab_size")  # settings that are those of the folder
VOCABULARY_FLAG = "vocabulary_path"


def with_encoding_settings(config: Config, data: DatasetMeta) -> Config:
    """Return the settings with those of a MindRecord folder that decide on the encoding, and name them.

    UserError if its categories are not of the same kind.
    """
    settings = data.settings
    if settings["skip_id_convert"] != config.skip_id_convert:
        raise UserError(
            f"--vocabulary_path={config.vocabulary_path} was made with --skip_id_convert={settings['skip_id_convert']};"
            " use the same"
        )
    changes = {key: settings[key] for key in ENCODING_KEYS if key in settings}
    named = " ".join(f"--{key}={value}" for key, value in changes.items())
    print(f"note: rows are encoded as those of {config.vocabulary_path}, with {named}")
    return dataclasses.replace(config, **{**changes, "dense_encoding": DenseEncoding(changes["dense_encoding"])})


def load_encoder(data: DatasetMeta, schema: FieldSchema) -> FeatureEncoder:
    """Return the encoder of a MindRecord folder, whose schema knows the largest id of a category.

    UserError if the folder is damaged or its rows have other columns than the schema.
    """
    path = data.path / VOCABULARY_NAME
    if file_sha256(path) != data.vocabulary_sha256:
        raise UserError(f"{path} is damaged: its SHA-256 is another one; copy it again or preprocess that folder again")
    vocabulary = Vocabulary.load(path)
    if schema.categories_are_ids:
        schema = dataclasses.replace(schema, largest_id=data.vocabulary_size - len(vocabulary) - 1)
    scales = tuple(DenseScale(*scale) for scale in data.dense_scales)
    encoding = DenseEncoding(data.dense_encoding)
    encoder = FeatureEncoder(schema, encoding, scales, vocabulary, data.bucket_edges, data.list_lengths)
    _check_columns(encoder, data)
    return encoder


def _check_columns(encoder, data):
    """Raise UserError unless an encoder has the columns of a folder, each of the same kind."""
    columns = {"sparse": encoder.sparse_names, "dense": encoder.dense_names}
    for kind, expected in (("sparse", data.sparse_fields), ("dense", data.dense_fields)):
        if tuple(columns[kind]) != expected:
            raise UserError(
                f"--vocabulary_path={data.path} has the {kind} fields {', '.join(expected)}, and these rows have "
                f"{', '.join(columns[kind])}; name the same columns with --schema_path, or --dense_dim and --slot_dim"
            )
    kinds = {
        "multi-valued": (encoder.schema.list_names, data.list_lengths),
        "floats": (encoder.schema.float_names if encoder.bucket_names else (), data.bucket_edges),
    }
    for kind, (names, expected) in kinds.items():
        if {*names} != {*expected}:
            raise UserError(
                f"--vocabulary_path={data.path}: of its columns {', '.join(expected) or 'none'} are {kind}, and of "
                f"those of these rows {', '.join(names) or 'none'}; name them alike in the file of --schema_path"
            )
