# SPDX-License-Identifier: Apache-2.0
"""The encoder of a job in the storage, from which each worker loads it once."""

import dataclasses
import functools
import io
import json
import pathlib

from src.common.dense_encoding import DenseEncoding
from src.common.files import file_sha256
from src.dataset_meta import VOCABULARY_NAME
from src.preprocessing.cluster.plan import digest_of
from src.preprocessing.cluster.storage import Storage
from src.preprocessing.encoder import DenseScale, FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.vocabulary import Vocabulary

ENCODING_NAME = "encoding.json"


def save_encoder(encoder: FeatureEncoder, vocabulary_path: pathlib.Path, storage: Storage, folder: str) -> None:
    """Write an encoder, whose vocabulary is in a file, to a folder of the storage."""
    storage.write(f"{folder}/{VOCABULARY_NAME}", vocabulary_path.read_bytes())
    storage.write(f"{folder}/{ENCODING_NAME}", json.dumps(_encoding(encoder)).encode())


@functools.lru_cache(maxsize=1)
def load_encoder(storage: Storage, folder: str, schema: FieldSchema) -> FeatureEncoder:
    """Return the encoder in a folder of the storage."""
    content = json.loads(storage.read(f"{folder}/{ENCODING_NAME}"))
    content["dense_encoding"] = DenseEncoding(content["dense_encoding"])
    content["dense_scales"] = tuple(DenseScale(**scale) for scale in content["dense_scales"])
    vocabulary = Vocabulary.read(io.BytesIO(storage.read(f"{folder}/{VOCABULARY_NAME}")))
    return FeatureEncoder(schema=schema, vocabulary=vocabulary, **content)


def digest_of_encoder(encoder: FeatureEncoder, vocabulary_path: pathlib.Path) -> str:
    """Return a short digest of an encoder, whose vocabulary is in a file."""
    return digest_of(json.dumps([_encoding(encoder), file_sha256(vocabulary_path)]))


def _encoding(encoder):
    """Return the encoder without its schema and vocabulary, content for JSON, which keeps each digit of a number."""
    return {
        "dense_encoding": encoder.dense_encoding,
        "dense_scales": [dataclasses.asdict(scale) for scale in encoder.dense_scales],
        "bucket_edges": encoder.bucket_edges,
        "list_lengths": encoder.list_lengths,
    }
