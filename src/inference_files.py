# SPDX-License-Identifier: Apache-2.0
"""The files on both sides of the C++ runner.

A folder with 00_sparse_ids/, 01_dense_values/ (if the network has dense fields) and 02_labels/, each with files of the
same names, raw rows of int32 [n, S], float32 [n, N] and float32 [n], and manifest.json.  The runner writes a folder
with files of these names, too: probabilities, float32 [n].
"""

import json
import pathlib
import shutil

import numpy as np

from src.errors import UserError
from src.metrics import PADDING_LABEL
from src.output_paths import Kind, Output, prepared
from src.progress import Progress

FOLDERS = {"sparse_ids": "00_sparse_ids", "dense_values": "01_dense_values", "labels": "02_labels"}
MANIFEST_NAME = "manifest.json"
FILE_ROWS = 16_000  # about; whole records


def write_inputs(dataset_path, meta, result_path):
    """Write the test split, whole files at a time, into a new folder result_path; return its manifest, a dict."""
    from src.dataset import create_dataset

    result_path = pathlib.Path(result_path)
    _check_replaceable(result_path)
    partial = result_path.with_name(f"{result_path.name}.partial")
    with prepared([Output("result_path", str(partial), Kind.FOLDER, f"--result_path={result_path}")]):
        return _write_inputs(dataset_path, meta, result_path, partial, create_dataset)


def _write_inputs(dataset_path, meta, result_path, partial, create_dataset):
    shutil.rmtree(partial, ignore_errors=True)
    names = ["sparse_ids", *(["dense_values"] if meta.dense_fields else []), "labels"]
    for name in names:
        (partial / FOLDERS[name]).mkdir(parents=True)
    batch_size = max(FILE_ROWS // meta.rows_per_record, 1) * meta.rows_per_record
    files = []
    progress = Progress("write", meta.splits["test"].rows, passing=True)
    batches = create_dataset(dataset_path, "test", batch_size).create_tuple_iterator(num_epochs=1)
    for number, batch in enumerate(batches):
        columns = [column.asnumpy() for column in batch]
        real = columns[-1].ravel() != PADDING_LABEL
        files.append({"name": f"deepfm_{number:06d}.bin", "rows": int(real.sum())})
        for name, column in zip(names, columns):
            column[real].tofile(partial / FOLDERS[name] / files[-1]["name"])
        progress.advance(files[-1]["rows"])
    progress.close()
    manifest = {
        "rows": sum(file["rows"] for file in files),
        "inputs": {
            name: {"dtype": str(column.dtype), "width": column.shape[1]} for name, column in zip(names, columns)
        },
        "files": files,
        "vocabulary_sha256": meta.vocabulary_sha256,
    }
    (partial / MANIFEST_NAME).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    if result_path.exists():
        shutil.rmtree(result_path)
    partial.rename(result_path)
    return manifest


def read_outputs(result_path, label_path):
    """Return the labels and the probabilities, float32 [n], of all files; UserError unless their rows are as written.

    result_path: folder of the runner.  label_path: 02_labels, with the manifest beside it.
    """
    result_path, label_path = pathlib.Path(result_path), pathlib.Path(label_path)
    manifest_path = label_path.parent / MANIFEST_NAME
    try:
        files = json.loads(manifest_path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{manifest_path} is missing or damaged; preprocess.py writes it") from error
    parts = []
    for file in files:
        columns = []
        for folder in (label_path, result_path):
            path = folder / file["name"]
            if not path.is_file():
                raise UserError(f"{path} is missing")
            columns.append(np.fromfile(path, np.float32))
            if path.stat().st_size != 4 * file["rows"]:
                raise UserError(
                    f"{path} holds {path.stat().st_size} bytes; {file['rows']} rows of float32 were expected"
                )
        parts.append(columns)
    return [np.concatenate(columns) for columns in zip(*parts)]


def _check_replaceable(path):
    if path.exists() and not (path / MANIFEST_NAME).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"--result_path={path} is there and was not written by preprocess.py; name another folder")
