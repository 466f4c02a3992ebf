# SPDX-License-Identifier: Apache-2.0
"""Probe rows: encoded rows on which an exported file is compared with its checkpoint, without the training data.

They are drawn at random from the vocabulary and the encoding of the integers, not taken from the data.  train.py writes
them to the folder of its checkpoints.
"""

import dataclasses
import io
import os
import pathlib
import zipfile

import numpy as np
import polars as pl

from src.common.dense_encoding import DenseEncoding
from src.common.encoded_rows import NO_VALUE, check_rows
from src.common.files import replaced
from src.data_identity import DataIdentity
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.preprocessing.value_counts import VALUE
from src.preprocessing.vocabulary import Vocabulary

PROBE_NAME = "probe_rows.npz"
ROW_COUNT, SEED = 1000, 2020
OOV, MISSING, ANY = range(3)  # kinds of cells
SPECIAL_FRACTION = 0.1  # of the cells are OOV, and as many are missing


@dataclasses.dataclass(frozen=True)
class FieldIds:
    """The ids of a sparse field: those of OOV and of missing values, and the range of the ids of its values."""

    oov: int
    missing: int
    first: int
    last: int


def save_probe_rows(folder: str | os.PathLike, data: DatasetMeta) -> None:
    """Draw probe rows for these data and write them to `folder`, atomically; the same data give the same bytes."""
    identity = DataIdentity.of_dataset(data)
    fields = field_ids(Vocabulary.load(data.path / VOCABULARY_NAME), identity)
    inputs = draw_probe_rows(fields, identity)
    content = io.BytesIO()  # in memory, as zipfile prints a traceback if a file on a full disk cannot be closed
    np.savez(content, data_identity=np.array(identity.digest()), **inputs)
    with replaced(pathlib.Path(folder, PROBE_NAME)) as partial:
        partial.write_bytes(content.getvalue())


def load_probe_rows(folder: str | os.PathLike, identity: DataIdentity) -> dict[str, np.ndarray]:
    """Return the probe rows in a folder of checkpoints: sparse_ids int32 [n, S], dense_values float32 [n, N] if N > 0.

    If an older training has left none, or they are damaged, other rows are drawn from the DataIdentity alone.
    """
    path = pathlib.Path(folder, PROBE_NAME)
    try:
        return _read(path, identity)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        print(f"note: {path} is not used ({' '.join(str(error).split())}); other probe rows are drawn")
    last = identity.vocabulary_size - 1
    return draw_probe_rows([FieldIds(0, last, 0, last)] * identity.id_count, identity)


def _read(path, identity):
    with np.load(path, allow_pickle=False) as content:
        if str(content["data_identity"]) != identity.digest():
            raise ValueError("its rows are of other data")
        types = {
            "sparse_ids": (np.int32, identity.id_count),
            "dense_values": (np.float32, len(identity.dense_fields)),
        }
        inputs = {name: content[name] for name, (_, width) in types.items() if width}
    row_count = len(inputs["sparse_ids"])
    for name, column in inputs.items():
        dtype, width = types[name]
        if column.dtype != dtype or column.shape != (row_count, width) or not row_count:
            raise ValueError(f"{name} is {column.dtype} {column.shape}")
    size, width = identity.vocabulary_size, identity.list_width
    check_rows(*inputs.values(), vocabulary_size=size, source=path, list_width=width)
    return inputs


def field_ids(vocabulary: Vocabulary, identity: DataIdentity) -> list[FieldIds]:
    """Return the FieldIds of each column of sparse_ids.

    A field that is not in the vocabulary has categories that already are ids, below those of the vocabulary.
    """
    table = vocabulary.table
    raw_ids = FieldIds(0, 0, 0, (table["id"].min() if table.height else identity.vocabulary_size) - 1)
    found = {field: _ids_of_field(rows) for (field,), rows in table.partition_by("field", as_dict=True).items()}
    lengths = [identity.list_lengths.get(field, 1) for field in identity.sparse_fields]
    return [found.get(field, raw_ids) for field, length in zip(identity.sparse_fields, lengths) for _ in range(length)]


def _ids_of_field(rows):
    """Return the FieldIds of the rows of a field: the first row is OOV, the ids of the others are consecutive."""
    oov, kept, missing = rows["id"][0], rows["id"][1:], rows.filter(pl.col(VALUE) == "")["id"]
    first, last = (kept.min(), kept.max()) if len(kept) else (oov, oov)
    return FieldIds(oov, missing[0] if len(missing) else oov, first, last)


def draw_probe_rows(fields: list[FieldIds], identity: DataIdentity) -> dict[str, np.ndarray]:
    """Return ROW_COUNT rows by name of the input.  fields: of each column of sparse_ids.

    The first row has the OOV id in each field, the second row a missing value.
    """
    random = np.random.default_rng(SEED)
    inputs = {"sparse_ids": np.stack([_draw_ids(field, random) for field in fields], axis=1)}
    if identity.list_lengths:
        _shorten_lists(inputs["sparse_ids"], tuple(identity.list_lengths.values()))
    if identity.dense_fields:
        columns = [_draw_values(identity.dense_encoding, random) for _ in identity.dense_fields]
        inputs["dense_values"] = np.stack(columns, axis=1)
    return inputs


def _shorten_lists(sparse_ids, lengths):
    """Let each multi-valued field, the last columns, have from one value to all of them, row by row."""
    end = sparse_ids.shape[1]
    for length in reversed(lengths):
        counts = np.arange(len(sparse_ids)) % length + 1
        block = sparse_ids[:, end - length : end]
        block[np.arange(length) >= counts[:, None]] = NO_VALUE
        end -= length


def _draw_ids(field, random):
    any_id = random.integers(field.first, field.last, ROW_COUNT, endpoint=True)
    return np.choose(_kinds(random), [field.oov, field.missing, any_id]).astype(np.int32)


def _draw_values(dense_encoding, random):
    """Return dense values in the range of their encoding: fractions of the maximum, or standardised logarithms.

    A missing integer is 0.
    """
    is_fraction = dense_encoding == DenseEncoding.MAX
    values = random.random(ROW_COUNT) if is_fraction else random.standard_normal(ROW_COUNT)
    return np.where(_kinds(random) == MISSING, 0, values).astype(np.float32)


def _kinds(random):
    """Return the kind of a cell for each row: OOV, MISSING or ANY."""
    kinds = random.choice(3, ROW_COUNT, p=[SPECIAL_FRACTION, SPECIAL_FRACTION, 1 - 2 * SPECIAL_FRACTION])
    kinds[:2] = OOV, MISSING
    return kinds
