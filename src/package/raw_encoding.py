# SPDX-License-Identifier: Apache-2.0
"""The encoding of raw rows: all that turns the rows of a log into the inputs of a model.

train.py writes it to the folder of its checkpoints, as raw_rows.json and vocabulary.tsv, so that a model can be
exported and used without the data that it was trained on.
"""

import dataclasses
import json
import os
import pathlib
import shutil

from src.common.dense_encoding import DenseEncoding
from src.common.errors import UserError
from src.common.files import file_sha256, replaced, write_json
from src.data_identity import DIGEST_KEY, DataIdentity
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.preprocessing.encoder import DenseScale, FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.schema_file import describe_schema, parse_schema
from src.preprocessing.vocabulary import Vocabulary

RAW_ROWS_NAME = "raw_rows.json"
FORMAT_VERSION = 1
CRITEO_KEYS = ("dense_dim", "slot_dim", "categories_are_ids", "negative_label")
MOST_COLUMNS = 1000  # of integers, and of categories


@dataclasses.dataclass(frozen=True)
class FieldRates:
    """The fractions of the training rows in which a raw column is missing and outside the vocabulary.

    oov_rate: None for a column without a vocabulary.
    """

    name: str
    missing_rate: float
    oov_rate: float | None


@dataclasses.dataclass(frozen=True)
class RawEncoding:
    """The columns of a raw row, and their way into the inputs of a network.

    vocabulary_path: a file whose SHA-256 is the vocabulary_sha256 of the identity.
    """

    schema: FieldSchema
    identity: DataIdentity
    field_rates: tuple[FieldRates, ...]
    vocabulary_path: pathlib.Path

    @classmethod
    def of_dataset(cls, data: DatasetMeta) -> "RawEncoding":
        """Take it from a MindRecord folder."""
        rates = tuple(
            FieldRates(field["name"], field["missing_rate"], field["oov_rate_train"]) for field in data.fields
        )
        schema = schema_of_settings(data.settings)
        return cls(schema, DataIdentity.of_dataset(data), rates, data.path / VOCABULARY_NAME)

    @classmethod
    def from_dict(cls, content: dict, identity: DataIdentity, vocabulary_path: pathlib.Path) -> "RawEncoding":
        """Return the encoding of which to_dict made `content`; KeyError, TypeError or ValueError if it is damaged."""
        schema = _parse_rows(content["rows"])
        rates = tuple(FieldRates(**rates) for rates in content["fields"])
        columns = {*schema.value_names}
        if {*identity.dense_fields, *identity.sparse_fields} != columns or {each.name for each in rates} - columns:
            raise ValueError("the rows, the data and the fields have different columns")
        if identity.list_lengths.keys() != {*schema.list_names}:
            raise ValueError("the rows and the data have different multi-valued columns")
        return cls(schema, identity, rates, vocabulary_path)

    def to_dict(self) -> dict:
        """Return the content, without the identity and the vocabulary, as a dict for JSON."""
        return {
            "rows": _describe_rows(self.schema),
            "fields": [dataclasses.asdict(rates) for rates in self.field_rates],
        }

    def save(self, folder: str | os.PathLike) -> None:
        """Write raw_rows.json and vocabulary.tsv to a folder, each atomically."""
        copy = pathlib.Path(folder, VOCABULARY_NAME)
        if not (copy.is_file() and file_sha256(copy) == self.identity.vocabulary_sha256):
            with replaced(copy) as partial:
                shutil.copyfile(self.vocabulary_path, partial)
        content = {"format_version": FORMAT_VERSION, DIGEST_KEY: self.identity.digest(), **self.to_dict()}
        write_json(pathlib.Path(folder, RAW_ROWS_NAME), content)

    @classmethod
    def load(cls, folder: str | os.PathLike, identity: DataIdentity) -> "RawEncoding | None":
        """Read the encoding of a model of this identity; None if an older training has left none in its folder.

        Raises UserError if the files are damaged or of other data.
        """
        path, vocabulary_path = pathlib.Path(folder, RAW_ROWS_NAME), pathlib.Path(folder, VOCABULARY_NAME)
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format_version"] != FORMAT_VERSION or content[DIGEST_KEY] != identity.digest():
                raise UserError(f"{path} is of other data than the model; copy the files of the training again")
            encoding = cls.from_dict(content, identity, vocabulary_path)
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} is damaged ({error!r}); copy the files of the training again") from error
        encoding.check_vocabulary()
        return encoding

    def check_vocabulary(self) -> None:
        """Raise UserError unless the vocabulary is the one of the identity."""
        if not self.vocabulary_path.is_file():
            raise UserError(f"{self.vocabulary_path} is missing; copy it again")
        if file_sha256(self.vocabulary_path) != self.identity.vocabulary_sha256:
            raise UserError(f"{self.vocabulary_path} is not the vocabulary of the model: its SHA-256 is another one")

    def encoder(self) -> FeatureEncoder:
        """Return the FeatureEncoder, with the vocabulary in memory.

        Its schema, of rows to score, knows the largest id of a category.
        """
        scales = tuple(DenseScale(*scale) for scale in self.identity.dense_scales)
        vocabulary = Vocabulary.load(self.vocabulary_path)
        identity = self.identity
        schema = self.schema.to_score(identity.vocabulary_size - len(vocabulary) - 1)
        encoding = DenseEncoding(identity.dense_encoding)
        return FeatureEncoder(schema, encoding, scales, vocabulary, identity.bucket_edges, identity.list_lengths)


def schema_of_settings(settings: dict) -> FieldSchema:
    """Return the schema of the rows that were preprocessed with these settings."""
    ids = settings["skip_id_convert"]
    if "schema" in settings:
        return dataclasses.replace(parse_schema(settings["schema"]), categories_are_ids=ids)
    return FieldSchema.criteo(settings["dense_dim"], settings["slot_dim"], ids, settings.get("negative_label", 0))


def _describe_rows(schema):
    """Return the content for JSON of which _parse_rows makes the schema: numbers if it is Criteo's."""
    numbers = len(schema.integer_names), len(schema.category_names), schema.categories_are_ids, schema.negative_label
    if schema == FieldSchema.criteo(*numbers):
        return dict(zip(CRITEO_KEYS, numbers))
    return {**describe_schema(schema), "categories_are_ids": schema.categories_are_ids}


def _parse_rows(content):
    if "dense_dim" not in content:
        described = {key: value for key, value in content.items() if key != "categories_are_ids"}
        if type(content["categories_are_ids"]) is not bool:
            raise ValueError(f"categories_are_ids is {content['categories_are_ids']!r}")
        return dataclasses.replace(parse_schema(described), categories_are_ids=content["categories_are_ids"])
    values = {key: content[key] for key in CRITEO_KEYS}
    if wrong := [key for key, value in values.items() if not _is_allowed(key, value)]:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}")
    return FieldSchema.criteo(**values)


def _is_allowed(key, value):
    """Tell whether a parsed value of one of CRITEO_KEYS is of its type and within its range."""
    if key == "categories_are_ids":
        return type(value) is bool
    return type(value) is int and value in (range(-1, 1) if key == "negative_label" else range(MOST_COLUMNS + 1))
