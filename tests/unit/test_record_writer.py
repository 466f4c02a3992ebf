# SPDX-License-Identifier: Apache-2.0

import numpy as np

from src.dataset_meta import DatasetMeta
from tests.records import read_rows


def test_many_shards_hold_the_same_rows_as_one(make_dataset, dataset, monkeypatch):
    monkeypatch.setattr("src.preprocessing.record_writer.SHARD_ROWS", 150)
    folder = make_dataset()
    files = DatasetMeta.load(folder).splits["train"].files
    assert [file.records for file in files[:-1]] == [3] * (len(files) - 1)
    assert len(files) == -(-DatasetMeta.load(dataset).splits["train"].records // 3)
    for one, many in zip(read_rows(dataset, "train"), read_rows(folder, "train")):
        assert np.array_equal(one, many)
