# SPDX-License-Identifier: Apache-2.0
import collections
import dataclasses

import numpy as np
import pytest

from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.export.probe_rows import load_probe_rows, save_probe_rows
from tests.limits import files_of_at_most


def ids_by_field(dataset):
    """Return for each field of vocabulary.tsv the ids by value, read in plain Python."""
    ids = collections.defaultdict(dict)
    for line in (dataset / "vocabulary.tsv").read_text(encoding="utf-8").split("\n")[1:-1]:
        field, value, number, _ = line.split("\t")
        ids[field][value] = int(number)
    return ids


@pytest.fixture(scope="module")
def saved(dataset, tmp_path_factory):
    """The folder that the probe rows of `dataset` were written to, and its identity."""
    folder = tmp_path_factory.mktemp("checkpoint")
    meta = DatasetMeta.load(dataset)
    save_probe_rows(folder, meta)
    return folder, DataIdentity.of_dataset(meta)


def test_each_field_has_its_own_ids_and_the_first_rows_are_oov_and_missing(saved, dataset):
    folder, identity = saved
    rows = load_probe_rows(folder, identity)
    assert list(rows) == ["sparse_ids", "dense_values"]
    assert rows["sparse_ids"].shape == (1000, 7)
    assert rows["sparse_ids"].dtype == np.int32
    known = ids_by_field(dataset)
    for index, field in enumerate(identity.sparse_fields):
        column, ids = rows["sparse_ids"][:, index].tolist(), known[field]
        assert set(column) == set(ids.values())  # every id comes, as there are few
        assert column[0] == ids["<OOV>"]
        assert column[1] == ids.get("", ids["<OOV>"])


def test_dense_values_are_finite_and_some_are_missing(saved):
    values = load_probe_rows(*saved)["dense_values"]
    assert values.shape == (1000, 3)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values[1] == 0).all()
    assert (abs((values == 0).mean(axis=0) - 0.1) < 0.04).all()  # four standard deviations of 1000 draws
    assert (abs(values.mean(axis=0)) < 0.15).all()
    assert (abs(values.std(axis=0) - 0.9**0.5) < 0.12).all()


def test_the_same_data_give_the_same_bytes_and_nothing_but_the_file_is_left(saved, dataset, tmp_path):
    folder, _ = saved
    save_probe_rows(tmp_path, DatasetMeta.load(dataset))
    assert [path.name for path in tmp_path.iterdir()] == ["probe_rows.npz"]
    assert (tmp_path / "probe_rows.npz").read_bytes() == (folder / "probe_rows.npz").read_bytes()


def test_probe_rows_that_cannot_be_written_leave_the_earlier_file(saved, dataset, tmp_path):
    path = tmp_path / "probe_rows.npz"
    path.write_bytes(b"earlier")
    with files_of_at_most(1000), pytest.raises(OSError, match=f"File too large: '{path}'"):
        save_probe_rows(tmp_path, DatasetMeta.load(dataset))
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["probe_rows.npz"]


@pytest.mark.parametrize("encoding", ["max", "bucket"])
def test_the_rows_fit_the_encoding(make_dataset, tmp_path, encoding):
    dataset = make_dataset(f"--dense_encoding={encoding}")
    meta = DatasetMeta.load(dataset)
    save_probe_rows(tmp_path, meta)
    rows = load_probe_rows(tmp_path, DataIdentity.of_dataset(meta))
    if encoding == "bucket":
        assert list(rows) == ["sparse_ids"]
    else:
        assert rows["dense_values"].min() == 0
        assert rows["dense_values"].max() <= 1
    assert rows["sparse_ids"].shape == (1000, 7 if encoding == "bucket" else 4)


def test_categories_that_already_are_ids_are_drawn_from_below_the_vocabulary(make_dataset, tmp_path):
    content = "".join(f"{row % 2}\t{row % 5}\t{row % 3}\t1\t{row % 50}\t{row % 7}\t2\t3\n" for row in range(1203))
    dataset = make_dataset("--skip_id_convert=1", content=content)
    meta = DatasetMeta.load(dataset)
    save_probe_rows(tmp_path, meta)
    rows = load_probe_rows(tmp_path, DataIdentity.of_dataset(meta))["sparse_ids"]
    assert list(meta.sparse_fields[3:]) == ["C1", "C2", "C3", "C4"]
    assert set(rows[:, 3:].ravel().tolist()) == set(range(50))
    assert rows[:, :3].min() == 50
    assert rows[:, :3].max() == meta.vocabulary_size - 1


def test_without_a_file_rows_are_drawn_from_the_identity_alone(saved, tmp_path, capsys):
    _, identity = saved
    rows = load_probe_rows(tmp_path, identity)
    assert rows["sparse_ids"].shape == (1000, 7)
    assert rows["sparse_ids"].min() == 0
    assert rows["sparse_ids"].max() == identity.vocabulary_size - 1
    assert rows["dense_values"].shape == (1000, 3)
    assert capsys.readouterr().out == ""


def damaged(folder, how, identity):
    path = folder / "probe_rows.npz"
    rows = load_probe_rows(folder, identity)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "other data":
        np.savez(path, data_identity=np.array("0" * 64), **rows)
    elif how == "pickle":
        np.savez(path, data_identity=np.array(identity.digest(), object), **rows)
    elif how == "out of the table":
        rows["sparse_ids"][3, 2] = identity.vocabulary_size
        np.savez(path, data_identity=np.array(identity.digest()), **rows)
    elif how == "other shape":
        rows["dense_values"] = rows["dense_values"][:, :2]
        np.savez(path, data_identity=np.array(identity.digest()), **rows)
    elif how == "not numbers":
        np.savez(path, data_identity=np.array(identity.digest()), **rows | {"dense_values": np.full((1000, 3), "x")})


@pytest.mark.parametrize(
    "how", ["truncated", "empty", "other data", "pickle", "out of the table", "other shape", "not numbers"]
)
def test_a_file_that_is_damaged_or_of_other_data_is_not_used(saved, tmp_path, capsys, dataset, how):
    _, identity = saved
    save_probe_rows(tmp_path, DatasetMeta.load(dataset))
    expected = load_probe_rows(tmp_path / "none", identity)
    damaged(tmp_path, how, identity)
    rows = load_probe_rows(tmp_path, identity)
    for name, column in expected.items():
        np.testing.assert_array_equal(rows[name], column)
    note = capsys.readouterr().out
    assert note.startswith(f"note: {tmp_path}/probe_rows.npz is not used (")
    assert note.count("\n") == 1


def test_the_rows_do_not_depend_on_the_rows_of_the_data(saved, dataset, tmp_path):
    meta = dataclasses.replace(DatasetMeta.load(dataset), splits={})
    save_probe_rows(tmp_path, meta)
    assert (tmp_path / "probe_rows.npz").read_bytes() == (saved[0] / "probe_rows.npz").read_bytes()
