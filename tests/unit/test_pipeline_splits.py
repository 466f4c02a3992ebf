# SPDX-License-Identifier: Apache-2.0
"""Splits by time and by file: the rows of each split in the MindRecord files, and what the training rows decide on."""

import gzip
import itertools
import json
import random

import numpy as np
import polars as pl
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from tests import oracles
from tests.raw_data import data_digests
from tests.records import read_rows

SCHEMA = "label: click\n{time}integers: [n]\ncategories: [site]\nheader: true\n"
HEADER = "note,when,site,n,click"
BY_TIME, RATIOS = "--split=time", ("--valid_ratio=0.1", "--test_ratio=0.2")
IDS = ("--skip_id_convert=True", "--dense_encoding=log")


def make_log(count, *, are_ids=True, seed=3):
    """Return rows of text whose times, each of three rows, are in no order; `site` is the number of the row if asked.

    Without that, the values of `site` change with the time.
    """
    dice = random.Random(seed)
    lines = []
    for row in range(count):
        time = row * 37 % (count // 3)
        site = row if are_ids else f"s{dice.randrange(5) + time // 20}"
        lines.append(f"x,{time},{site},{dice.choice(['', time, dice.randrange(9)])},{int(dice.random() < 0.4)}")
    return lines


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def preprocess(folder, data_path, *flags, time="time: when\n"):
    """Preprocess rows with the schema; return the MindRecord folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "schema.yaml").write_text(SCHEMA.format(time=time))
    main([f"--data_path={data_path}", f"--schema_path={folder / 'schema.yaml'}", f"--output_dir={folder / 'out'}",
          "--line_per_sample=7", "--train_line_count=0", "--threshold=0", *flags])  # fmt: skip
    return folder / "out"


def rows_of(folder):
    """Return the numbers of the rows of each split, in their order, of rows whose id is their number."""
    meta = DatasetMeta.load(folder)
    return {
        split: read_rows(folder, split)[0][:, -1].tolist() if each.rows else [] for split, each in meta.splits.items()
    }


def in_order(lines, seed=2020):
    return sorted(lines, key=lambda line: oracles.splitmix64(seed, line))


def test_a_split_by_time_has_the_last_rows_by_the_time_column(tmp_path):
    # 100 times of three rows each: 80 .. 99 are the last fifth, 70 .. 79 the tenth before it.
    path = write(tmp_path / "log.csv", make_log(300))
    folder = preprocess(tmp_path, path, BY_TIME, *RATIOS, *IDS)
    times = [row * 37 % 100 for row in range(300)]
    assert rows_of(folder) == {
        "train": in_order([row for row in range(300) if times[row] < 70]),
        "valid": in_order([row for row in range(300) if 70 <= times[row] < 80]),
        "test": in_order([row for row in range(300) if times[row] >= 80]),
    }
    assert DatasetMeta.load(folder).settings["split"] == "time"


def test_a_split_by_time_without_a_time_column_has_the_last_rows_of_all_files(tmp_path):
    log = make_log(300)
    for number, bounds in ((10, (250, 300)), (9, (100, 250)), (1, (0, 100))):
        write(tmp_path / "log" / f"day_{number}.csv", log[slice(*bounds)])
    folder = preprocess(tmp_path, tmp_path / "log", BY_TIME, *RATIOS, *IDS, time="")
    bounds = {"train": (0, 210), "valid": (210, 240), "test": (240, 300)}
    assert rows_of(folder) == {split: in_order(range(*each)) for split, each in bounds.items()}


def test_malformed_rows_around_a_boundary_are_left_out_and_move_nothing_by_time(tmp_path):
    log = make_log(300)
    times = [row * 37 % 100 for row in range(300)]
    near = [row for row in range(300) if times[row] in (69, 70, 79, 80)]
    for row, damage in zip(near, ["no,row", "x,,1,2,1", "x,1,2,3,7", "x,soon,1,2,1"] * 3):
        log[row] = damage
    path = write(tmp_path / "log.csv", log)
    folder = preprocess(tmp_path, path, BY_TIME, *RATIOS, *IDS, "--max_bad_line_ratio=0.1")
    # 288 rows are left, none of the times 69, 70, 79 and 80: nearest to a fifth are the 57 of the times from 81 on.
    found, left = rows_of(folder), [row for row in range(300) if row not in near]
    assert {times[row] for row in found["test"]} == set(range(81, 100))
    assert sorted(itertools.chain(*found.values())) == left
    assert max(times[row] for row in found["train"]) < min(times[row] for row in found["valid"])
    assert abs(len(found["valid"]) - 29) <= 3
    assert DatasetMeta.load(folder).bad_lines == {"columns": 3, "time": 6, "label": 3}


@pytest.mark.parametrize("ratios", [(0.0, 0.0), (0.1, 0.0), (0.0, 0.2)])
def test_a_split_by_time_without_some_splits(tmp_path, ratios):
    flags = (f"--valid_ratio={ratios[0]}", f"--test_ratio={ratios[1]}")
    path = write(tmp_path / "log.csv", make_log(300))
    found = rows_of(preprocess(tmp_path, path, BY_TIME, *flags, *IDS))
    assert [len(rows) for rows in found.values()] == [round(300 * part) for part in (1 - sum(ratios), *ratios)]


def test_files_of_their_own_are_their_splits(tmp_path):
    log = make_log(600)
    train = [write(tmp_path / name, part) for name, part in (("a.csv", log[:150]), ("b.csv", log[150:400]))]
    valid, test = write(tmp_path / "v.csv", log[400:450]), write(tmp_path / "t.csv", log[450:])
    names, own = ",".join(map(str, train)), (f"--valid_path={valid}", f"--test_path={test}")
    expected = {"train": in_order(range(400)), "valid": in_order(range(400, 450)), "test": in_order(range(450, 600))}
    assert rows_of(preprocess(tmp_path / "all", names, *own, *RATIOS, *IDS)) == expected
    # The ratio of the split that has no file is that of the other rows.
    found = rows_of(preprocess(tmp_path / "valid", names, own[0], *RATIOS, *IDS))
    is_test = {row: oracles.splitmix64(2020, row) / 2**64 >= 0.8 for row in range(400)}
    assert found == {
        "train": in_order([row for row in range(400) if not is_test[row]]),
        "valid": in_order(range(400, 450)),
        "test": in_order([row for row in range(400) if is_test[row]]),
    }
    # Test rows, which come after those of --data_path, have the numbers 400 ...; the last tenth of those is validation.
    found = rows_of(preprocess(tmp_path / "rows", names, f"--test_path={test}", BY_TIME, *RATIOS, *IDS, time=""))
    assert {split: sorted(rows) for split, rows in found.items()} == {
        "train": list(range(360)), "valid": list(range(360, 400)), "test": list(range(450, 600)),
    }  # fmt: skip


@pytest.mark.parametrize("flags", [(BY_TIME,), (BY_TIME, "--negative_keep_rate=0.6")])
def test_vocabulary_and_scales_are_those_of_the_training_rows_alone(tmp_path, flags):
    log = make_log(300, are_ids=False)
    folder = preprocess(tmp_path, write(tmp_path / "log.csv", log), *flags, *RATIOS)
    rows = []
    for line in log:
        _, time, site, number, click = line.split(",")
        rows.append(
            (int(time), {"integers": [int(number) if number else None], "categories": [site], "label": int(click)})
        )
    splits = {
        "train": [number for number, (time, _) in enumerate(rows) if time < 70],
        "valid": [number for number, (time, _) in enumerate(rows) if 70 <= time < 80],
        "test": [number for number, (time, _) in enumerate(rows) if time >= 80],
    }
    if len(flags) > 1:
        sampled = {
            number for number in range(300) if oracles.splitmix64(2020 ^ 0xA0761D6478BD642F, number) < 0.6 * 2**64
        }
        splits["train"] = [number for number in splits["train"] if rows[number][1]["label"] or number in sampled]
        assert DatasetMeta.load(folder).left_out == 210 - len(splits["train"]) > 20
    oracle = oracles.Encoder([rows[number][1] for number in splits["train"]], 1, "log+bin", threshold=0)
    for split, numbers in splits.items():
        sparse_ids, dense_values, labels = read_rows(folder, split)
        expected = [rows[number][1] for number in in_order(numbers)]
        assert labels.tolist() == [row["label"] for row in expected]
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in expected]
        np.testing.assert_allclose(dense_values, [oracle.dense_values(row) for row in expected], rtol=2e-6, atol=2e-6)
    assert DatasetMeta.load(folder).vocabulary_size == oracle.vocabulary_size
    site = DatasetMeta.load(folder).fields[1]
    assert site["oov_rate_test"] > 0.1  # its values are new ones
    assert site["oov_rate_train"] == 0


def as_parquet(path):
    pl.read_csv(path, schema_overrides={"site": pl.String}).write_parquet(path.with_suffix(".parquet"))
    path.unlink()


def as_gzip(path):
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def as_five(path):
    lines = path.read_text().splitlines()[1:]
    for part in range(5):
        write(path.with_name(f"{path.stem}_{part}.csv"), lines[part * len(lines) // 5 : (part + 1) * len(lines) // 5])
    path.unlink()


LOG = make_log(3000, are_ids=False)
KINDS = {
    "time": (BY_TIME, "--negative_keep_rate=0.5"),
    "rows": (BY_TIME,),
    "files": ("--valid_path={}/valid", "--test_path={}/test"),
    "files and rows": (BY_TIME, "--test_path={}/test"),
}


def digests_of(folder, kind, pack=lambda path: None, *flags):
    """Return the digests of the result of LOG: all in one folder, or its last rows in folders of their own."""
    ends = {"data": 3000} if kind in ("time", "rows") else {"data": 2000, "valid": 2300, "test": 3000}
    start = 0
    for name, end in ends.items():
        pack(write(folder / name / "log.csv", LOG[start:end]))
        start = 2300 if kind == "files and rows" else end
    others = [flag.format(folder) for flag in KINDS[kind]]
    time = "" if "rows" in kind else "time: when\n"
    return data_digests(preprocess(folder, folder / "data", *others, *RATIOS, *flags, time=time))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the digests of the results of plain files, by kind of split."""
    return {kind: digests_of(tmp_path_factory.mktemp("plain"), kind) for kind in KINDS}


@pytest.mark.parametrize("pack", [as_gzip, as_five, as_parquet])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_for_any_packing(tmp_path, plain, kind, pack):
    assert digests_of(tmp_path, kind, pack) == plain[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_for_small_chunks(tmp_path, plain, kind):
    assert digests_of(tmp_path, kind, lambda path: None, "--memory_limit=0.0001") == plain[kind]


@pytest.mark.slow
@pytest.mark.parametrize("pack", [lambda path: None, as_five, as_parquet, as_gzip])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bytes_by_workers(tmp_path, plain, kind, pack):
    assert digests_of(tmp_path, kind, pack, "--workers=2", "--memory_limit=0.0001") == plain[kind]


def test_results_of_other_splits_are_not_taken_for_the_same(tmp_path, capsys):
    log = make_log(600)
    data, own = write(tmp_path / "a.csv", log[:400]), write(tmp_path / "b.csv", log[400:])
    others = [(), (BY_TIME,), ("--negative_keep_rate=0.5",), (f"--valid_path={own}",), (f"--test_path={own}",),
              (f"--test_path={own}", BY_TIME)]  # fmt: skip
    for flags in others:
        preprocess(tmp_path / "first", data, *flags, *IDS, "--overwrite=True")
        assert "was made from this file" not in capsys.readouterr().out
        preprocess(tmp_path / "first", data, *flags, *IDS)
        assert "was made from this file with these settings already" in capsys.readouterr().out
        for different in others:
            if different != flags:
                with pytest.raises(UserError, match="made from another file or with other settings"):
                    preprocess(tmp_path / "first", data, *different, *IDS)


def test_a_random_split_of_rows_with_times_is_that_of_rows_without(tmp_path):
    path = write(tmp_path / "log.csv", make_log(300, are_ids=False))
    expected = data_digests(preprocess(tmp_path / "without", path, time=""))
    assert data_digests(preprocess(tmp_path / "with", path)) == expected
    settings = DatasetMeta.load(tmp_path / "with" / "out").settings
    assert not {"split", "negative_keep_rate", "vocabulary"} & set(settings)
    assert "time" not in settings["schema"]
    assert "left_out" not in json.loads((tmp_path / "with" / "out" / "dataset_meta.json").read_text())


CLICKS = [f"x,{row},1,2,{row % 2}" for row in range(100)]


@pytest.mark.parametrize(
    ("log", "own", "flags", "message"),
    [
        (CLICKS, CLICKS[::2], (), "of the 50 rows of the valid .* 0 have label 1; .* or another --valid_path$"),
        (CLICKS, [], (), "of the 0 rows of the valid .* 0 have label 1; .* or another --valid_path$"),
        ([], CLICKS, (), "of the 0 rows of the train split .* --valid_ratio or --test_ratio$"),
        (CLICKS, None, ("--negative_keep_rate=1e-9",), "have label 1; .* or a --negative_keep_rate above 1e-09$"),
        (["x,5,1,2,0", "x,5,1,2,1"] * 50, None, (BY_TIME,), "of the 0 rows .*; rows of one time are in one split$"),
        ([], None, (BY_TIME,), "log.csv is empty$"),
        (["x,,1,2,0"] * 50, None, (BY_TIME,), 'line 2: when is ""; a time is .* of 50 lines 50 malformed'),
    ],
)
def test_splits_that_nothing_can_be_learned_from_are_refused(tmp_path, log, own, flags, message):
    path = write(tmp_path / "log.csv", log)
    flags = flags if own is None else (*flags, f"--valid_path={write(tmp_path / 'own.csv', own)}")
    with pytest.raises(UserError, match=message) as caught:
        preprocess(tmp_path, path, *flags)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_malformed_rows_of_several_files_are_named_with_their_file(tmp_path, capsys):
    log = make_log(400)
    data, own = write(tmp_path / "a.csv", log[:300]), write(tmp_path / "b.csv", [*log[300:], "no row"])
    preprocess(tmp_path, data, f"--valid_path={own}", *IDS)
    assert "first        b.csv:102 (columns)" in capsys.readouterr().out


def test_an_empty_file_that_must_have_a_header_is_named(tmp_path):
    data = write(tmp_path / "a.csv", make_log(300))
    (tmp_path / "b.csv").touch()
    with pytest.raises(UserError, match=r"b\.csv is empty: it lacks even the header; leave it out$"):
        preprocess(tmp_path, data, f"--valid_path={tmp_path / 'b.csv'}", *IDS)
