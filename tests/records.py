# SPDX-License-Identifier: Apache-2.0
"""Read MindRecord shards back, without src/dataset.py."""

import json
import pathlib

import numpy as np
from mindspore.mindrecord import FileReader


def read_rows(folder, split):
    """Return sparse_ids, dense_values and labels of a split in the order of the files, without the padding."""
    meta = json.loads(pathlib.Path(folder, "dataset_meta.json").read_text())
    columns = {"sparse_ids": [], "dense_values": [], "label": []}
    for path in sorted(pathlib.Path(folder).glob(f"{split}_input_part.mindrecord[0-9][0-9]")):
        reader = FileReader(str(path), num_consumer=1)
        for record in reader.get_next():
            for name, parts in columns.items():
                parts.append(bytes(record.get(name, b"")))
        reader.close()
    labels = np.frombuffer(b"".join(columns["label"]), np.float32)
    sparse_ids = np.frombuffer(b"".join(columns["sparse_ids"]), np.int32).reshape(len(labels), -1)
    dense_values = np.frombuffer(b"".join(columns["dense_values"]), np.float32).reshape(
        len(labels), len(meta["dense_fields"])
    )
    real = labels >= 0
    return sparse_ids[real], dense_values[real], labels[real]
