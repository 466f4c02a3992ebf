# SPDX-License-Identifier: Apache-2.0
"""The encoder of a job in the shared folder, from which each worker loads it once."""

import dataclasses
import functools
import json
import pathlib

from src.common.dense_encoding import DenseEncoding
from src.common.files import file_sha256, replaced, write_json
from src.dataset_meta import VOCABULARY_NAME
from src.preprocessing.cluster.plan import digest_of
from src.preprocessing.encoder import DenseScale, FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.vocabulary import Vocabulary

ENCODING_NAME = "encoding.json"


def save_encoder(encoder: FeatureEncoder, folder: pathlib.Path) -> None:
    """Write the encoder to a folder."""
    with replaced(folder / VOCABULARY_NAME) as path:
        encoder.vocabulary.save(path)
    write_json(folder / ENCODING_NAME, _encoding(encoder))


@functools.lru_cache(maxsize=1)
def load_encoder(folder: pathlib.Path, schema: FieldSchema) -> FeatureEncoder:
    """Return the encoder in a folder."""
    content = json.loads((folder / ENCODING_NAME).read_text(encoding="utf-8"))
    scales = tuple(DenseScale(*scale) for scale in content["scales"])
    vocabulary = Vocabulary.load(folder / VOCABULARY_NAME)
    return FeatureEncoder(schema, DenseEncoding(content["dense_encoding"]), scales, vocabulary)


def digest_of_encoder(encoder: FeatureEncoder, vocabulary_path: pathlib.Path) -> str:
    """Return a short digest of an encoder, whose vocabulary is in a file."""
    return digest_of(json.dumps([_encoding(encoder), file_sha256(vocabulary_path)]))


def _encoding(encoder):
    """Return the encoder without its vocabulary, content for JSON, which keeps each digit of a number."""
    scales = [dataclasses.astuple(scale) for scale in encoder.dense_scales]
    return {"dense_encoding": encoder.dense_encoding, "scales": scales}
