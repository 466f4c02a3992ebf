# SPDX-License-Identifier: Apache-2.0
"""The files on both sides of the C++ runner.

preprocess.py writes a folder with 00_sparse_ids/, 01_dense_values/ (if the network has dense fields) and 02_labels/,
each with files of the same names: rows of int32 [n, S], float32 [n, N] and float32 [n].  manifest.json lists them.  The
runner writes a folder with files of these names, too: probabilities, float32 [n].  data_identity.txt in both folders
names the data that the rows, or the model, were encoded as.
"""

import dataclasses
import json
import os
import pathlib
import sys

import numpy as np

from src.common.errors import UserError
from src.common.files import partial_path, replaced_folder, write_json
from src.common.output_paths import Kind, Output, prepared
from src.common.progress import Progress
from src.data_identity import DIGEST_KEY, DataIdentity, read_text_digest
from src.dataset_meta import DatasetMeta

FOLDERS = {"sparse_ids": "00_sparse_ids", "dense_values": "01_dense_values", "labels": "02_labels"}
MANIFEST_NAME = "manifest.json"
FILE_ROWS = 16_000  # at most, unless a record has more


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file of each input, and its number of rows."""

    name: str
    rows: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """manifest.json: the files of each input, in the order of the rows, and the digest of the data's identity.

    data_identity: None in a manifest of an older version.
    """

    files: tuple[InputFile, ...]
    data_identity: str | None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def save(self, folder: pathlib.Path, data: DatasetMeta) -> None:
        """Write it to `folder`, with the types and widths of the inputs."""
        widths = {"sparse_ids": data.id_count, "dense_values": len(data.dense_fields), "labels": 1}
        dtypes = {"sparse_ids": "int32", "dense_values": "float32", "labels": "float32"}
        content = {
            "rows": self.rows,
            "inputs": {name: {"dtype": dtypes[name], "width": widths[name]} for name in _names(data)},
            "files": [dataclasses.asdict(file) for file in self.files],
            "vocabulary_sha256": data.vocabulary_sha256,
            DIGEST_KEY: self.data_identity,
        }
        write_json(folder / MANIFEST_NAME, content)

    @classmethod
    def load(cls, path: pathlib.Path) -> "Manifest":
        """Read a manifest; UserError if it is missing, damaged, or lists no files."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            files = tuple(InputFile(file["name"], file["rows"]) for file in content["files"])
            data_identity = content.get(DIGEST_KEY)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is missing or damaged; preprocess.py writes it") from error
        if not files:
            raise UserError(f"{path} lists no files; run preprocess.py again")
        return cls(files, data_identity)


def _names(data):
    """Return the names of the inputs and of the labels, in their order."""
    return ["sparse_ids", *(["dense_values"] if data.dense_fields else []), "labels"]


def write_inputs(data: DatasetMeta, result_path: str | os.PathLike) -> Manifest:
    """Write the test split to a new folder that replaces `result_path`; return its Manifest."""
    _check_replaceable(result_path)
    partial = partial_path(os.path.abspath(result_path))
    output = Output("result_path", str(partial), Kind.FOLDER, f"--result_path={result_path}")
    with prepared([output]), replaced_folder(result_path) as folder:
        identity = DataIdentity.of_dataset(data)
        manifest = Manifest(_write_rows(data, folder), identity.digest())
        identity.save_text(folder)
        manifest.save(folder, data)
    return manifest


def _write_rows(data, folder):
    """Write the rows of the test split, some records to a file; return the InputFiles."""
    from src.export.dataset_rows import read_batches  # here, as it imports MindSpore, which postprocess.py need not

    names = _names(data)
    for name in names:
        (folder / FOLDERS[name]).mkdir()
    batch_size = max(FILE_ROWS // data.rows_per_record, 1) * data.rows_per_record
    files = []
    progress = Progress("write", data.splits["test"].rows, leave=False)
    for number, (inputs, labels) in enumerate(read_batches(data, "test", batch_size)):
        file = InputFile(f"deepfm_{number:06d}.bin", len(labels))
        for name, column in zip(names, (*inputs, labels)):
            column.tofile(folder / FOLDERS[name] / file.name)
        files.append(file)
        progress.advance(file.rows)
    progress.close()
    return tuple(files)


def read_outputs(result_path: str | os.PathLike, label_path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels and the probabilities of all files, float32 [n].

    result_path: folder of the runner.  label_path: 02_labels, whose parent folder holds the manifest.
    Raises UserError if a file is missing, has another number of rows than the manifest says, or holds other values.
    """
    result_path, label_path = pathlib.Path(result_path), pathlib.Path(label_path)
    manifest_path = _parent(label_path) / MANIFEST_NAME
    manifest = Manifest.load(manifest_path)
    _check_identity(result_path, manifest_path, manifest)
    labels = [_read_labels(label_path / file.name, file.rows) for file in manifest.files]
    probabilities = [_read_probabilities(result_path / file.name, file.rows) for file in manifest.files]
    return np.concatenate(labels), np.concatenate(probabilities)


def _check_identity(result_path, manifest_path, manifest):
    """Raise UserError if the model of the predictions was trained on other data than those of the labels."""
    of_labels, of_model = manifest.data_identity, read_text_digest(result_path)
    for path, digest in ((manifest_path, of_labels), (result_path, of_model)):
        if digest is None:
            print(
                f"warning: {path} has no data identity, so it is not checked that the model was trained on these data",
                file=sys.stderr,
            )
    if None not in (of_labels, of_model) and of_labels != of_model:
        raise UserError(
            f"{result_path} holds predictions of a model of other data (data identity {of_model[:12]}) than the labels "
            f"({of_labels[:12]} in {manifest_path}); export the model of these data and run the runner again"
        )


def _read_labels(path, row_count):
    labels = _read_column(path, row_count)
    _check_each(path, labels, (labels == 0) | (labels == 1), "label", "must be 0 or 1")
    return labels


def _read_probabilities(path, row_count):
    probabilities = _read_column(path, row_count)
    is_valid = (probabilities >= 0) & (probabilities <= 1)  # False for NaN
    _check_each(path, probabilities, is_valid, "probability", "must be from 0 to 1")
    return probabilities


def _read_column(path, row_count):
    if not path.is_file():
        raise UserError(f"{path} is missing")
    if path.stat().st_size != 4 * row_count:
        raise UserError(f"{path} holds {path.stat().st_size} bytes; {row_count} rows of float32 were expected")
    return np.fromfile(path, np.float32)


def _check_each(path, values, is_valid, name, rule):
    if not is_valid.all():
        row = int(np.argmin(is_valid))
        raise UserError(f"{path}: row {row + 1}: the {name} {values[row]} {rule}")


def _parent(path):
    """Return the parent folder of a path, which may be . or end with .."""
    return path.parent if path.name not in ("", "..") else pathlib.Path(os.path.abspath(path)).parent


def _check_replaceable(result_path):
    path = pathlib.Path(result_path)
    if path.exists() and not (path / MANIFEST_NAME).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--result_path={path} exists and was not written by preprocess.py; name another folder")
    if pathlib.Path.cwd().is_relative_to(os.path.abspath(path)):
        raise UserError(f"--result_path={path} holds the working directory, which is not replaced; name another folder")
