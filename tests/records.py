# SPDX-License-Identifier: Apache-2.0
"""Read MindRecord shards back, without src/dataset.py."""

import pathlib

import numpy as np
from mindspore.mindrecord import FileReader


def read_rows(folder, split):
    """Return sparse_ids, dense_values and labels of a split in the order of the files, without the padding."""
    records = []
    for path in sorted(pathlib.Path(folder).glob(f"{split}_input_part.mindrecord[0-9][0-9]")):
        reader = FileReader(str(path), num_consumer=1)
        records += list(reader.get_next())
        reader.close()
    labels = np.concatenate([record["label"] for record in records])
    real = labels >= 0
    empty = np.empty((len(records[0]["label"]), 0), np.float32)
    return (
        np.concatenate([record["sparse_ids"] for record in records])[real],
        np.concatenate([record.get("dense_values", empty) for record in records])[real],
        labels[real],
    )
