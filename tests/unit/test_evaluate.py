# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import predict
from tests.records import read_rows


def test_ids_that_the_table_does_not_have_are_refused_and_not_scored(seeded, dataset):
    meta = DatasetMeta.load(dataset)
    size = meta.vocabulary_size // 2
    network = DeepFM(DeepFMConfig(size, len(meta.sparse_fields), len(meta.dense_fields), 2, (3,)))
    ids = read_rows(dataset, "test")[0]
    row, column = np.argwhere(ids >= size)[0]
    assert row < 50  # in the first batch
    message = (
        f"test split, batch 1: row {row + 1}, column {column + 1}: the id {ids[row, column]} is not one of the {size}"
    )
    with pytest.raises(UserError, match=message):
        predict(DeepFMPredict(network), create_dataset(meta, "test", 50), ProcessGroup(), "test")
