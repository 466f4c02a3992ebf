# SPDX-License-Identifier: Apache-2.0
"""The files on both sides of the C++ runner.

A folder with 00_sparse_ids/, 01_dense_values/ (if the network has dense fields) and 02_labels/, each with files of the
same names, raw rows of int32 [n, S], float32 [n, N] and float32 [n], and manifest.json.  The runner writes a folder
with files of these names, too: probabilities, float32 [n].  data_identity.txt in both folders names the data that the
rows, or the model, were encoded as.
"""

import json
import os
import pathlib
import shutil
import sys

import numpy as np

from src.common.encoded_rows import check_rows
from src.common.errors import UserError
from src.common.files import partial_path
from src.common.output_paths import Kind, Output, prepared
from src.common.progress import Progress
from src.data_identity import DIGEST_KEY, DataIdentity, read_text_digest
from src.dataset_meta import PADDING_LABEL, DatasetMeta

FOLDERS = {"sparse_ids": "00_sparse_ids", "dense_values": "01_dense_values", "labels": "02_labels"}
MANIFEST_NAME = "manifest.json"
FILE_ROWS = 16_000  # about; whole records


def write_inputs(data: DatasetMeta, result_path):
    """Write the test split, whole files at a time, into a new folder result_path; return its manifest, a dict."""
    _check_replaceable(result_path)
    target = pathlib.Path(os.path.abspath(result_path))
    partial = partial_path(target)
    with prepared([Output("result_path", str(partial), Kind.FOLDER, f"--result_path={result_path}")]):
        return _write_inputs(data, target, partial)


def _write_inputs(data, result_path, partial):
    from src.dataset import create_dataset  # here, as it imports MindSpore, which readers of the files need not

    shutil.rmtree(partial, ignore_errors=True)
    names = ["sparse_ids", *(["dense_values"] if data.dense_fields else []), "labels"]
    for name in names:
        (partial / FOLDERS[name]).mkdir(parents=True)
    batch_size = max(FILE_ROWS // data.rows_per_record, 1) * data.rows_per_record
    files = []
    progress = Progress("write", data.splits["test"].rows, leave=False)
    batches = create_dataset(data, "test", batch_size).create_tuple_iterator(num_epochs=1)
    for number, batch in enumerate(batches):
        columns = [column.asnumpy() for column in batch]
        real = columns[-1].ravel() != PADDING_LABEL
        *inputs, _ = columns
        check_rows(*inputs, vocabulary_size=data.vocabulary_size, source=f"{data.path}, split test, batch {number + 1}")
        files.append({"name": f"deepfm_{number:06d}.bin", "rows": int(real.sum())})
        for name, column in zip(names, columns):
            column[real].tofile(partial / FOLDERS[name] / files[-1]["name"])
        progress.advance(files[-1]["rows"])
    progress.close()
    identity = DataIdentity.of_dataset(data)
    manifest = {
        "rows": sum(file["rows"] for file in files),
        "inputs": {
            name: {"dtype": str(column.dtype), "width": column.shape[1]} for name, column in zip(names, columns)
        },
        "files": files,
        "vocabulary_sha256": data.vocabulary_sha256,
        DIGEST_KEY: identity.digest(),
    }
    identity.save_text(partial)
    (partial / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if result_path.exists():
        shutil.rmtree(result_path)
    partial.rename(result_path)
    return manifest


def read_outputs(result_path, label_path):
    """Return the labels and the probabilities, float32 [n], of all files; UserError unless their rows are as written.

    result_path: folder of the runner.  label_path: 02_labels, whose parent folder holds the manifest.
    """
    result_path, label_path = pathlib.Path(result_path), pathlib.Path(label_path)
    manifest_path = _parent(label_path) / MANIFEST_NAME
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        files = [(file["name"], file["rows"]) for file in manifest["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{manifest_path} is missing or damaged; preprocess.py writes it") from error
    if not files:
        raise UserError(f"{manifest_path} lists no files; run preprocess.py again")
    _check_identity(result_path, manifest_path, manifest)
    parts = [
        (_read_labels(label_path / name, rows), _read_probabilities(result_path / name, rows)) for name, rows in files
    ]
    return [np.concatenate(columns) for columns in zip(*parts)]


def _check_identity(result_path, manifest_path, manifest):
    """Raise UserError if the model of the predictions was trained on other data than those of the labels."""
    ours, theirs = manifest.get(DIGEST_KEY), read_text_digest(result_path)
    for path, digest in ((manifest_path, ours), (result_path, theirs)):
        if digest is None:
            print(
                f"warning: {path} does not say which data it belongs to, so it is not checked that the model was "
                "trained on such data",
                file=sys.stderr,
            )
    if None not in (ours, theirs) and ours != theirs:
        raise UserError(
            f"{result_path} holds predictions of a model of other data (data identity {theirs[:12]}) than the labels "
            f"({ours[:12]} in {manifest_path}); export the model of these data and run the runner again"
        )


def _read_labels(path, rows):
    labels = _read_column(path, rows)
    _check_each(path, labels, (labels == 0) | (labels == 1), "label", "must be 0 or 1")
    return labels


def _read_probabilities(path, rows):
    probabilities = _read_column(path, rows)
    is_good = (probabilities >= 0) & (probabilities <= 1)  # False for NaN
    _check_each(path, probabilities, is_good, "probability", "must be from 0 to 1")
    return probabilities


def _read_column(path, rows):
    if not path.is_file():
        raise UserError(f"{path} is missing")
    if path.stat().st_size != 4 * rows:
        raise UserError(f"{path} holds {path.stat().st_size} bytes; {rows} rows of float32 were expected")
    return np.fromfile(path, np.float32)


def _check_each(path, values, is_good, name, rule):
    if not is_good.all():
        row = int(np.argmin(is_good))
        raise UserError(f"{path}: row {row + 1}: the {name} {values[row]} {rule}")


def _parent(path):
    """Return the parent folder of a path, which may be . or end with .."""
    return path.parent if path.name not in ("", "..") else pathlib.Path(os.path.abspath(path)).parent


def _check_replaceable(result_path):
    path = pathlib.Path(result_path)
    if path.exists() and not (path / MANIFEST_NAME).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--result_path={path} is there and was not written by preprocess.py; name another folder")
    if pathlib.Path.cwd().is_relative_to(os.path.abspath(path)):
        raise UserError(f"--result_path={path} holds the working directory, which is not replaced; name another folder")
