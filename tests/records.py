# SPDX-License-Identifier: Apache-2.0
"""Read MindRecord shards back, without src/dataset.py."""

import json
import pathlib

import numpy as np
from mindspore.mindrecord import FileReader


def read_rows(folder, split):
    """Return sparse_ids, dense_values and labels of a split in the order of the files, without the padding."""
    meta = json.loads(pathlib.Path(folder, "dataset_meta.json").read_text())
    columns = read_columns(folder, split, "sparse_ids", "dense_values", "label")
    labels = np.frombuffer(columns["label"], np.float32)
    sparse_ids = np.frombuffer(columns["sparse_ids"], np.int32).reshape(len(labels), -1)
    dense_values = np.frombuffer(columns["dense_values"], np.float32).reshape(len(labels), len(meta["dense_fields"]))
    real = labels >= 0
    return sparse_ids[real], dense_values[real], labels[real]


def read_weights(folder, split):
    """Return the weights of a split in the order of the files, without the padding."""
    columns = {
        name: np.frombuffer(data, np.float32) for name, data in read_columns(folder, split, "label", "weight").items()
    }
    return columns["weight"][columns["label"] >= 0]


def read_columns(folder, split, *names):
    """Return the bytes of columns by name, with the padding; none of a column that there is not."""
    columns = {name: [] for name in names}
    for path in sorted(pathlib.Path(folder).glob(f"{split}_input_part.mindrecord[0-9][0-9]")):
        reader = FileReader(str(path), num_consumer=1)
        for record in reader.get_next():
            for name, parts in columns.items():
                parts.append(bytes(record.get(name, b"")))
        reader.close()
    return {name: b"".join(parts) for name, parts in columns.items()}
