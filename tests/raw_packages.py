# SPDX-License-Identifier: Apache-2.0
"""Model packages for the tests of their readers, written from an encoder and a MindIR."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from src.data_identity import DataIdentity
from src.preprocessing.encoder import FeatureEncoder


def identity_of(encoder: FeatureEncoder, vocabulary_size: int) -> DataIdentity:
    """Return the identity of the data that an encoder makes."""
    with_vocabulary = encoder.vocabulary.table.write_csv(separator="\t", quote_style="never").encode()
    return DataIdentity(
        hashlib.sha256(with_vocabulary).hexdigest(),
        tuple(encoder.sparse_names),
        tuple(encoder.dense_names),
        str(encoder.dense_encoding),
        tuple(dataclasses.astuple(scale) for scale in encoder.dense_scales),
        vocabulary_size,
    )


def manifest_of(encoder: FeatureEncoder, vocabulary_size: int, batch_rows: int = 1000) -> dict:
    """Return a package.json, without files, of a network for the rows of an encoder."""
    identity = identity_of(encoder, vocabulary_size)
    return {
        "format_version": 1,
        "network": {
            "vocabulary_size": vocabulary_size,
            "sparse_field_count": len(encoder.sparse_names),
            "dense_field_count": len(encoder.dense_names),
            "embedding_size": 4,
            "hidden_sizes": [5],
        },
        "rows": dataclasses.asdict(encoder.schema),
        "data": dataclasses.asdict(identity),
        "data_identity": identity.digest(),
        "recalibration": None,
        "metrics": {"valid": None, "test": None},
        "fields": [
            {"name": name, "missing_rate": 0.25, "oov_rate": 0.5} for name in encoder.schema.column_names if name != "label"
        ],
        "versions": {},
        "parameters": {},
        "mindir_batch_rows": batch_rows,
        "files": {},
    }


def write_package(folder: pathlib.Path, encoder: FeatureEncoder, manifest: dict, files: dict[str, bytes]) -> None:
    """Write a package: vocabulary.tsv and the given files, all listed in package.json."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.vocabulary.save(folder / "vocabulary.tsv")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    list_files(folder, manifest, ["vocabulary.tsv", *files])


def list_files(folder: pathlib.Path, manifest: dict, names: list[str]) -> None:
    """Write package.json with the sizes and digests that files have now."""
    contents = {name: (folder / name).read_bytes() for name in names}
    listed = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    (folder / "package.json").write_text(json.dumps({**manifest, "files": listed}, indent=1), encoding="utf-8")


def scores_text(probabilities: np.ndarray) -> bytes:
    """Return the content of a golden_scores.csv."""
    lines = [f"{row},{probability:.8f}\n" for row, probability in enumerate(probabilities, 1)]
    return "".join(["row,probability\n", *lines]).encode()
