# SPDX-License-Identifier: Apache-2.0
"""Every combination of column counts, encodings and categories that are ids, from raw rows to an exported model."""

import itertools
import random

import numpy as np
import pytest

import eval as eval_script
import export
import train
from src import preprocess_data
from src.checkpoint import find_checkpoint
from src.common.errors import ConfigError
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from src.export.formats import as_numpy_function, load_exported
from src.export.parity import predict_all
from tests import oracles
from tests.records import read_rows

ROWS, BATCH = 240, 20
COMBINATIONS = list(itertools.product((0, 1, 13), (0, 1, 26, 200), ("max", "log", "bin", "log+bin"), (False, True)))
# Each value of a setting is in one of these with each value of another, as far as they are not refused.
COVERING = [
    (0, 1, "bin", False), (0, 1, "log+bin", True), (0, 26, "max", True), (0, 200, "log", True),
    (0, 200, "log+bin", False), (1, 0, "log+bin", True), (1, 1, "max", False), (1, 26, "log", False),
    (1, 200, "bin", True), (13, 0, "bin", False), (13, 1, "log", True), (13, 26, "bin", False),
    (13, 26, "log+bin", False), (13, 200, "max", False),
]  # fmt: skip


def is_refused(dense_dim, slot_dim, dense_encoding):
    """There would be no sparse field."""
    return slot_dim == 0 and (dense_dim == 0 or dense_encoding in ("max", "log"))


ACCEPTED = [one for one in COMBINATIONS if not is_refused(*one[:3])]


def parameters(fast, others):
    """Return combinations for pytest; those that are only among the others get the mark slow."""
    return [*fast, *(pytest.param(one, marks=pytest.mark.slow) for one in others if one not in fast)]


def write_raw_rows(path, dense_dim, slot_dim, are_ids):
    """Write rows with both labels, missing, negative and 64-bit integers, and categories of some five values."""
    dice = random.Random(7)
    lines = []
    for row in range(ROWS):
        integers = [dice.choice(["", str(dice.randint(-3, 40)), str(2**40 + column)]) for column in range(dense_dim)]
        values = [dice.randrange(5) for _ in range(slot_dim)]
        categories = [str(value) if are_ids else ["", "a", "05db9164", "x y", "é"][value] for value in values]
        lines.append("\t".join([str(row * 7 % 3 % 2), *integers, *categories]))
    path.write_text("\n".join(lines), encoding="utf-8")
    return "\n".join(lines).encode()


def preprocess(folder, dense_dim, slot_dim, dense_encoding, are_ids):
    """Return the raw rows; their MindRecord is in folder/mindrecord."""
    content = write_raw_rows(folder / "train.txt", dense_dim, slot_dim, are_ids)
    preprocess_data.main(
        [
            f"--data_path={folder}", f"--dense_dim={dense_dim}", f"--slot_dim={slot_dim}",
            f"--skip_id_convert={are_ids}", f"--dense_encoding={dense_encoding}", "--threshold=1",
            "--line_per_sample=5", "--valid_ratio=0.2", "--test_ratio=0.2", "--train_line_count=0",
        ]
    )  # fmt: skip
    return content


def check_batches(folder, dense_dim, slot_dim, dense_encoding, are_ids):
    """Preprocess raw rows, and compare every row of the result with the reference."""
    content = preprocess(folder, dense_dim, slot_dim, dense_encoding, are_ids)
    good, bad = oracles.parse_file(content, dense_dim, slot_dim, are_ids)
    assert not bad
    splits = oracles.split_rows(good, 2020, 0.2, 0.2)
    all_rows = [row for _, row in good]
    oracle = oracles.Encoder(splits["train"], dense_dim, dense_encoding, 1, are_ids, all_rows)
    meta = DatasetMeta.load(folder / "mindrecord")
    assert meta.vocabulary_size == oracle.vocabulary_size
    for split, rows in splits.items():
        sparse_ids, dense_values, labels = read_rows(folder / "mindrecord", split)
        assert labels.tolist() == [row["label"] for row in rows]
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        expected = np.array([oracle.dense_values(row) for row in rows]).reshape(dense_values.shape)
        np.testing.assert_allclose(dense_values, expected, rtol=2e-6, atol=2e-6)


def check_model(folder, monkeypatch, capsys):
    """Train, score and export what is in folder/mindrecord, and compare the exported file with the checkpoint."""
    monkeypatch.chdir(folder)
    flags = ["--dataset_path=mindrecord", "--device_target=CPU", f"--batch_size={BATCH}"]
    small = ["--embedding_size=2", "--hidden_sizes=4", "--train_epochs=1", "--report_path=none"]
    train.main([*flags, *small])
    eval_script.main([*flags, "--report_path=none"])
    export.main([*flags, "--ckpt_file=checkpoint", "--file_name=deepfm"])
    assert "AUC " in capsys.readouterr().out
    test_data = create_dataset(DatasetMeta.load("mindrecord"), "test", BATCH)
    batches = test_data.create_tuple_iterator(num_epochs=1, output_numpy=True)
    *inputs, _ = (np.concatenate(column) for column in zip(*batches))
    predictor = DeepFMPredict(find_checkpoint("checkpoint").load_network())
    expected = predict_all(as_numpy_function(predictor), inputs, BATCH)
    found = predict_all(load_exported(folder / "deepfm.mindir", "MINDIR"), inputs, BATCH)
    assert expected.shape == found.shape == (len(inputs[0]), 1)
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("combination", [one for one in COMBINATIONS if is_refused(*one[:3])], ids=str)
def test_without_a_sparse_field_nothing_is_done(tmp_path, combination):
    with pytest.raises(ConfigError, match=r"--slot_dim=0 .* leaves no sparse field"):
        preprocess(tmp_path, *combination)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


@pytest.mark.parametrize("combination", parameters(COVERING, ACCEPTED), ids=str)
def test_batches_agree_with_the_reference(tmp_path, combination):
    check_batches(tmp_path, *combination)


# A network sees the numbers of fields and of ids alone: one field, ids alone, buckets alone, many fields.
NETWORKS = [
    (0, 1, "max", True), (0, 26, "max", True), (1, 0, "log+bin", True), (13, 26, "bin", False),
    (13, 200, "max", False),
]  # fmt: skip


@pytest.mark.parametrize("combination", parameters([(13, 0, "log+bin", False)], NETWORKS), ids=str)
def test_an_exported_model_predicts_as_its_checkpoint(tmp_path, monkeypatch, capsys, cpu, combination):
    preprocess(tmp_path, *combination)
    check_model(tmp_path, monkeypatch, capsys)
