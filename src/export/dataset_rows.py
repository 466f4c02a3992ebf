# SPDX-License-Identifier: Apache-2.0
"""Read a MindRecord folder as numpy arrays, for the input files of the C++ runner and the check of exported models."""

from collections.abc import Iterator

import numpy as np

from src.common.encoded_rows import check_rows
from src.dataset import create_dataset
from src.dataset_meta import PADDING_LABEL, DatasetMeta


def read_batches(data: DatasetMeta, split: str, batch_size: int) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Yield the inputs and the labels of a split batch by batch, without padding: [b, S], [b, N] if N > 0, and [b, 1].

    Raises UserError for ids outside the embedding table and for dense values that are not finite.
    """
    batches = create_dataset(data, split, batch_size).create_tuple_iterator(num_epochs=1, output_numpy=True)
    input_count = 2 if data.dense_fields else 1
    for number, columns in enumerate(batches, 1):
        inputs, labels = columns[:input_count], columns[input_count]
        source = f"{data.path}, split {split}, batch {number}"
        check_rows(*inputs, vocabulary_size=data.vocabulary_size, source=source, list_width=data.list_width)
        is_row = labels.ravel() != PADDING_LABEL
        yield [column[is_row] for column in inputs], labels[is_row]
