# SPDX-License-Identifier: Apache-2.0
import fcntl
import gzip
import hashlib
import itertools
import os
import random
import re

import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from src.preprocessing import pipeline
from src.preprocessing.encoder import Vocabulary
from src.preprocessing.pipeline import KeySplits
from tests import oracles
from tests.conftest import make_rows
from tests.records import read_rows
from tests.unit.test_raw_rows import archive_of


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--dense_encoding=bucket",),
        ("--dense_encoding=max", "--valid_ratio=0"),
        ("--line_per_sample=7", "--dense_encoding=log"),
    ],
)
def test_every_row_arrives_encoded_in_its_split_and_order(make_dataset, flags):
    content = make_rows(1203, 3, 4, seed=5, ending="\r\n") + "\r\nbad line\r\n1\t\t\t\tlast\tline\tno\tnewline"
    folder = make_dataset(*flags, content=content)
    settings = dict(flag.lstrip("-").split("=") for flag in flags)
    encoding, valid_ratio = settings.get("dense_encoding", "log+bucket"), float(settings.get("valid_ratio", 0.1))
    good, bad = oracles.parse_file(content.encode(), 3, 4)
    splits = oracles.split_rows(good, 2020, valid_ratio, 0.1)
    oracle = oracles.Encoder(splits["train"], 3, encoding, threshold=3)
    meta = DatasetMeta.load(folder)
    assert meta.bad_lines == {"columns": 1}
    assert meta.first_bad_lines == [list(bad[0])] == [[1204, "columns"]]
    assert (meta.lines, meta.vocabulary_size) == (1205, oracle.vocabulary_size)
    for split, rows in splits.items():
        assert (meta.splits[split].rows, meta.splits[split].positives) == (len(rows), sum(row["label"] for row in rows))
        if not rows:
            continue
        sparse_ids, dense_values, labels = read_rows(folder, split)
        assert labels.tolist() == [row["label"] for row in rows]
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        expected = np.array([oracle.dense_values(row) for row in rows]).reshape(dense_values.shape)
        np.testing.assert_allclose(dense_values, expected, rtol=2e-6, atol=2e-6)


def test_splits_by_hand():
    # SplitMix64 from 2020 gives row 0 .. 7 these positions in [0, 1):
    positions = [oracles.splitmix64(2020, row) / 2**64 for row in range(8)]
    splits = KeySplits.of_ratios(2020, valid_ratio=0.25, test_ratio=0.25)
    keys = np.sort(splits.keys(np.arange(8, dtype=np.uint64)))
    cut = splits.cut(keys)
    assert len(keys[cut["train"]]) == sum(position < 0.5 for position in positions)
    assert len(keys[cut["valid"]]) == sum(0.5 <= position < 0.75 for position in positions)
    assert len(keys[cut["test"]]) == sum(position >= 0.75 for position in positions)


def test_splits_by_count():
    splits = KeySplits.of_ratios(2020, valid_ratio=0.1, test_ratio=0.1)
    keys = np.sort(splits.keys(np.arange(1_000_000, dtype=np.uint64)))
    counts = {name: len(keys[part]) for name, part in splits.cut(keys).items()}
    assert sum(counts.values()) == 1_000_000
    assert abs(counts["valid"] - 100_000) < 1200  # four standard deviations of 300
    assert abs(counts["test"] - 100_000) < 1200


def test_a_ratio_of_zero_leaves_the_split_empty():
    splits = KeySplits.of_ratios(1, valid_ratio=0.0, test_ratio=0.0)
    keys = np.sort(splits.keys(np.arange(1000, dtype=np.uint64)))
    assert [len(keys[part]) for part in splits.cut(keys).values()] == [1000, 0, 0]


@pytest.mark.parametrize("memory_limit", ["0.0001", "0.002", "64"])
@pytest.mark.parametrize(
    ("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress), ("dac.tar.gz", archive_of)]
)
def test_the_same_bytes_for_any_packing_and_memory(tmp_path, large, name, pack, memory_limit):
    content, expected = large
    (tmp_path / name).write_bytes(pack(content))
    main([f"--data_path={tmp_path}", f"--memory_limit={memory_limit}", *LARGE])
    got = digests(tmp_path / "mindrecord")
    del got["source.json"]
    assert got == expected


LARGE = ("--dense_dim=3", "--slot_dim=4", "--line_per_sample=100", "--train_line_count=0", "--threshold=10")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return 20,000 rows, some of them malformed, and the digests of the files that are made of them."""
    text = make_rows(20_000, 3, 4, seed=8)
    content = text.replace("\n1\t", "\n1\tx", 30).replace("\t05db9164\t", "\t68fd1e64\t", 500).encode() + b"\n\xff"
    folder = tmp_path_factory.mktemp("large")
    (folder / "train.txt").write_bytes(content)
    main([f"--data_path={folder}", *LARGE])
    expected = digests(folder / "mindrecord")
    del expected["source.json"]
    return content, expected


def test_many_shards_hold_the_same_rows_as_one(make_dataset, dataset, monkeypatch):
    monkeypatch.setattr("src.preprocessing.record_writer.SHARD_ROWS", 150)
    folder = make_dataset()
    files = DatasetMeta.load(folder).splits["train"].files
    assert [file.records for file in files[:-1]] == [3] * (len(files) - 1)
    assert len(files) == -(-DatasetMeta.load(dataset).splits["train"].records // 3)
    for one, many in zip(read_rows(dataset, "train"), read_rows(folder, "train")):
        assert np.array_equal(one, many)


def test_categories_that_are_ids_stay_as_they_are(make_dataset):
    lines = [f"{row % 2}\t{row}\t\t1\t{row % 5}\t7\t{row % 3}\t1000" for row in range(300)]
    folder = make_dataset("--skip_id_convert=1", "--dense_encoding=log+bucket", content="\n".join(lines))
    meta = DatasetMeta.load(folder)
    sparse_ids, _, _ = read_rows(folder, "train")
    assert meta.sparse_fields == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    assert set(sparse_ids[:, 3]) == set(range(5))
    assert set(sparse_ids[:, 6]) == {1000}
    assert sparse_ids[:, :3].min() >= 1001  # the ids of the buckets come after those of the categories
    assert meta.vocabulary_size == sparse_ids.max() + 1


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", (), "is empty"),
        (
            "1\t2\t3\n" * 50,
            (),
            r"line 1 has 3 columns, .*a row has 8.*--dense_dim=3.*of 50 lines 50 malformed \(50 columns\)",
        ),
        ("\n".join(f"1\t\t\t\ta\tb\tc\t{row}" for row in range(500)), (), "both labels must occur"),
        ("1\t\t\t\ta\tb\tc\td\n0\t\t\t\ta\tb\tc\td\n", (), "both labels must occur"),
        ("x\t\t\t\ta\tb\tc\td\n" + "1\t\t\t\ta\tb\tc\td\n" * 9, ("--max_bad_line_ratio=0.05",), "1 malformed"),
        ("1\t\t\t\ta\tb\tc\td\n" * 9, ("--valid_ratio=0.5", "--test_ratio=0.5"), "must leave rows to train on"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_left(tmp_path, content, flags, message):
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", *flags])
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_an_earlier_result_is_replaced_only_on_demand(make_dataset):
    folder = make_dataset()
    flags = [
        f"--data_path={folder.parent}",
        "--dense_dim=3",
        "--slot_dim=4",
        "--line_per_sample=20",
        "--train_line_count=0",
    ]
    before = digests(folder)
    with pytest.raises(UserError, match=r"exists already, .*; --overwrite=True replaces it"):
        main(flags)
    assert digests(folder) == before
    main([*flags, "--overwrite=True"])
    assert DatasetMeta.load(folder).rows_per_record == 20
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mindrecord", "train.txt"]


def test_a_failed_run_leaves_the_earlier_result_alone(make_dataset):
    folder = make_dataset()
    before = digests(folder)
    (folder.parent / "train.txt").write_text("1\t2\n")
    with pytest.raises(UserError):
        main([f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--overwrite=True"])
    assert digests(folder) == before


def test_a_read_error_keeps_what_was_read_and_the_next_run_goes_on(tmp_path, large, monkeypatch, capsys):
    content, expected = large
    (tmp_path / "train.txt").write_bytes(content)
    flags = [f"--data_path={tmp_path}", "--memory_limit=0.002", *LARGE]
    read_all = pipeline.read_blocks

    def read_some(*arguments, **options):
        blocks = read_all(*arguments, **options)
        yield from itertools.islice(blocks, 3)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pipeline, "read_blocks", read_some)
    with pytest.raises(OSError, match=r"Input/output error.*run the same command again to resume"):
        main(flags)
    assert not (tmp_path / "mindrecord").exists()
    monkeypatch.undo()
    main(flags)
    out = capsys.readouterr().out
    assert re.search(r"^read: 20,001 rows in .*, some of it by an earlier run$", out, re.M)
    assert re.search(r'malformed lines were left out: line \d+: I1 is "x-?\d*"; ', out)
    got = digests(tmp_path / "mindrecord")
    del got["source.json"]
    assert got == expected


def test_a_different_line_count_is_reported(make_dataset, capsys):
    make_dataset("--train_line_count=45840617")
    note = "note: --train_line_count expects 45,840,617 lines, by default those of all of Criteo; for other data"
    assert note in capsys.readouterr().out.replace("\n", " ")


def test_a_complete_result_of_the_same_file_and_settings_is_used_again(make_dataset, capsys):
    folder = make_dataset()
    flags = [f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50"]
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    main([*flags, "--memory_limit=1"])
    assert "was made from this file with these settings already" in capsys.readouterr().out
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    source = folder.parent / "train.txt"
    os.utime(source, ns=(0, source.stat().st_mtime_ns + 1))
    with pytest.raises(UserError, match="made from another file or with other settings"):
        main(flags)


def test_a_second_run_on_the_same_folder_stops(make_dataset):
    folder = make_dataset()
    partial = folder.with_name("mindrecord.partial")
    partial.mkdir()
    with open(partial / "preprocess.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"another run is preprocessing {folder}; wait for it, stop it"):
            main([f"--data_path={folder.parent}", "--overwrite=True"])


def test_max_vocab_size_keeps_the_most_frequent_values(make_dataset):
    whole = Vocabulary.load(make_dataset() / "vocabulary.tsv").table
    small = Vocabulary.load(make_dataset("--max_vocab_size=2") / "vocabulary.tsv").table
    for field in whole["field"].unique():
        assert small.filter(field=field)["value"].to_list() == whole.filter(field=field)["value"].to_list()[:3]
        assert small.filter(field=field)["count"].sum() == whole.filter(field=field)["count"].sum()


def as_pandas_writes(content):
    """Return rows with integers as 3.0 or 3.00 and labels as 1.0, True or false."""
    lines = []
    for number, line in enumerate(content.split("\n")):
        label, *cells = line.split("\t")
        integers = [f"{cell}.{'0' * (1 + number % 2)}" if cell else "" for cell in cells[:3]]
        labels = [f"{label}.0", ["False", "True"][int(label)], ["false", "TRUE"][int(label)]]
        lines.append("\t".join([labels[number % 3], *integers, *cells[3:]]))
    return "\n".join(lines)


def test_numbers_as_pandas_writes_them_give_the_same_bytes_as_plain_ones(make_dataset, dataset):
    folder = make_dataset(content=as_pandas_writes(make_rows(1203, 3, 4, seed=5)))
    expected, got = digests(dataset), digests(folder)
    del expected["source.json"], got["source.json"]
    assert got == expected


def test_labels_of_minus_1_give_the_same_rows_and_the_setting_is_recorded(make_dataset, dataset):
    rows = [line.split("\t", 1) for line in make_rows(1203, 3, 4, seed=5).split("\n")]
    signs = {"0": ["-1", "-1.0"], "1": ["1", "+1", "1.0"]}
    lines = [f"{signs[label][number % len(signs[label])]}\t{cells}" for number, (label, cells) in enumerate(rows)]
    folder = make_dataset("--negative_label=-1", content="\n".join(lines))
    expected, got = digests(dataset), digests(folder)
    differing = {name for name in expected if expected[name] != got[name]}
    assert differing == {"dataset_meta.json", "source.json"}
    assert DatasetMeta.load(folder).settings == {**DatasetMeta.load(dataset).settings, "negative_label": -1}
    assert "negative_label" not in (dataset / "dataset_meta.json").read_text() + (dataset / "source.json").read_text()


def test_the_flag_for_labels_of_minus_1_is_named_and_used(tmp_path):
    lines = [f"{[1, -1][row % 3 == 0]}\t{row}\ta{row % 3}" for row in range(60)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    flags = [f"--data_path={tmp_path}", "--dense_dim=1", "--slot_dim=1", "--line_per_sample=5", "--threshold=0"]
    with pytest.raises(
        UserError, match=r'line 1: the label is "-1"; .* labels are -1 and 1: --negative_label=-1 takes -1'
    ):
        main(flags)
    main([*flags, "--negative_label=-1"])
    assert sum(split.positives for split in DatasetMeta.load(tmp_path / "mindrecord").splits.values()) == 40


def test_a_file_that_cannot_be_used_is_not_read_to_its_end(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("0,1,2,3,a,b,c,d\n" * 200_000)
    blocks = 0
    read_all = pipeline.read_blocks

    def count_blocks(*arguments, **options):
        nonlocal blocks
        for block in read_all(*arguments, **options):
            blocks += 1
            yield block

    monkeypatch.setattr(pipeline, "read_blocks", count_blocks)
    with pytest.raises(UserError, match=r"comma-separated .* of the first [0-9]+ lines"):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", "--memory_limit=0.0001"])
    assert blocks < 15  # of 49 blocks: 4 % of the file, and what is read ahead


def test_an_id_so_large_that_no_bucket_has_room_is_refused_before_the_values_are_counted(tmp_path, capsys):
    lines = [f"{row % 2}\t{row}\t{2**31 - 1 if row == 7 else row}" for row in range(60)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    flags = [f"--data_path={tmp_path}", "--dense_dim=1", "--slot_dim=1", "--line_per_sample=5", "--skip_id_convert=1"]
    with pytest.raises(
        UserError, match=r"--skip_id_convert=1: the largest category id is 2147483647; .*dense_encoding=log"
    ):
        main(flags)
    assert "count:" not in capsys.readouterr().out
    (tmp_path / "train.txt").write_text("\n".join(lines).replace(str(2**31 - 1), str(2**31 - 2)))
    with pytest.raises(
        UserError, match=r"the largest category id is 2147483646; the buckets .* take at least \d\d ids"
    ):
        main([*flags, "--threshold=0"])


@pytest.mark.parametrize(("name", "pack"), [("train.txt", bytes), ("train.txt.gz", gzip.compress)])
def test_progress_is_that_of_the_file_at_hand(tmp_path, monkeypatch, capsys, name, pack):
    monkeypatch.setattr("src.common.progress.SECONDS_BETWEEN_LINES", -1)
    content = make_rows(12_000, 3, 4, seed=8).encode()
    (tmp_path / name).write_bytes(pack(content))
    main([f"--data_path={tmp_path}", "--memory_limit=0.0001", *LARGE])
    out = capsys.readouterr().out
    estimated = int(re.search(r"^about ([\d,]+) rows", out)[1].replace(",", ""))
    totals = [int(total.replace(",", "")) for total in re.findall(r"^read: .* of about ([\d,]+) rows", out, re.M)]
    assert len(totals) >= 3
    # Of a packed file a block of 64 KiB is a tenth, and it is read a buffer ahead.
    assert all(total == pytest.approx(12_000, rel=0.05 if name == "train.txt" else 0.5) for total in totals)
    assert totals[-1] == pytest.approx(12_000, rel=0.2)
    assert estimated == pytest.approx(12_000, rel=0.05)


def test_columns_of_both_widths_and_missing_integers_arrive_as_the_reference_has_them(make_dataset):
    dice = random.Random(3)
    small = ["", "-1", "-5", "-16386", "7", "20000", "2147483647", "-2147483648"]
    large = [*small, "2147483648", "1700000000000", "-9223372036854775807", "9223372036854775807", "9007199254740993.0"]
    lines = []
    for row in range(4000):  # blocks of 64 KiB: the first hold nothing but small ones
        integers = [dice.choice(large if row > 3000 else small) for _ in range(3)]
        lines.append("\t".join([str(row % 2), *integers, "a" * 10, "b", "", "c"]))
    content = "\n".join(lines)
    folder = make_dataset("--memory_limit=0.0001", content=content)
    good, bad = oracles.parse_file(content.encode(), 3, 4)
    assert not bad
    splits = oracles.split_rows(good, 2020, 0.1, 0.1)
    oracle = oracles.Encoder(splits["train"], 3, "log+bucket", threshold=3)
    for split, rows in splits.items():
        sparse_ids, dense_values, _ = read_rows(folder, split)
        assert sparse_ids.tolist() == [oracle.sparse_ids(row) for row in rows]
        np.testing.assert_allclose(dense_values, [oracle.dense_values(row) for row in rows], rtol=2e-6, atol=2e-6)


def flags_of(folder, *flags):
    return [f"--data_path={folder.parent}", "--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50",
            "--train_line_count=0", *flags]  # fmt: skip


def test_an_output_folder_of_its_own_gets_the_same_files_and_nothing_else_changes(dataset, tmp_path, capsys):
    before = sorted(path.name for path in dataset.parent.iterdir())
    out = tmp_path / "new" / "criteo"
    main(flags_of(dataset, f"--output_dir={out}"))
    assert digests(out) == digests(dataset)
    assert sorted(path.name for path in dataset.parent.iterdir()) == before
    assert [path.name for path in out.parent.iterdir()] == ["criteo"]
    note = f"note: the MindRecord files are in {out}; train.py reads them with --dataset_path={out}\n"
    assert capsys.readouterr().out.endswith(note)
    main(flags_of(dataset, f"--output_dir={out}", f"--dataset_path={out}"))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out} was made from this file with these settings already")
    assert "note" not in printed


def test_an_empty_folder_may_become_the_output_and_one_with_other_files_never(dataset, tmp_path):
    (tmp_path / "empty").mkdir()
    main(flags_of(dataset, f"--output_dir={tmp_path / 'empty'}"))
    assert digests(tmp_path / "empty") == digests(dataset)
    rows = digests_of_files(dataset.parent)
    with pytest.raises(UserError, match="holds other files than MindRecord; name another folder with --output_dir"):
        main(flags_of(dataset, f"--output_dir={dataset.parent}", "--overwrite=True"))
    assert digests_of_files(dataset.parent) == rows


def digests_of_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_outputs_of_the_same_rows_do_not_exclude_each_other(dataset, tmp_path):
    partial = tmp_path / "one.partial"
    partial.mkdir()
    with open(partial / "preprocess.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=f"another run is preprocessing {tmp_path / 'one'}; wait for it"):
            main(flags_of(dataset, f"--output_dir={tmp_path / 'one'}"))
        main(flags_of(dataset, f"--output_dir={tmp_path / 'two'}"))
    assert digests(tmp_path / "two") == digests(dataset)


def test_what_could_not_be_begun_is_not_called_done(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as caught:
        main(flags_of(dataset, f"--output_dir={tmp_path / 'file' / 'out'}"))
    assert str(caught.value) == (
        f"--output_dir={tmp_path}/file/out cannot be written: {tmp_path}/file: is a file, a folder is wanted; name a "
        "folder for the MindRecord files with --output_dir elsewhere"
    )


def test_an_error_before_anything_was_kept_leaves_nothing_and_claims_nothing(tmp_path, large, monkeypatch):
    (tmp_path / "train.txt").write_bytes(large[0])

    def read_nothing(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pipeline, "read_blocks", read_nothing)
    with pytest.raises(OSError, match="Input/output error") as caught:
        main([f"--data_path={tmp_path}", *LARGE])
    assert "has been done" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


# Ids up to 2/3 of 2^31, of which six occur: a table of 81 numbers of 4 bytes each takes 432 GiB.
HASHED = "\n".join(f"{row % 2}\t{row}\t\t1\t{row % 3 * 715827882}\t7\t1\t2" for row in range(300))


def test_hashed_ids_are_refused_before_anything_is_written(make_dataset):
    with pytest.raises(UserError) as caught:
        make_dataset("--skip_id_convert=1", "--device_target=CPU", content=HASHED)
    assert re.match(
        r"memory: about 3,\d+\.\d GiB for training \(table of 1,431,655,7\d\d x 81: 1,728\.\d GiB\)", str(caught.value)
    )
    assert "at most 1,200 of the ids occur, so they look hashed" in str(caught.value)
    assert "--skip_id_convert=0" in str(caught.value)


def test_hashed_ids_are_accepted_if_another_device_is_to_train(make_dataset, capsys):
    folder = make_dataset("--skip_id_convert=1", "--device_target=Ascend", content=HASHED)
    assert "not compared with the memory of Ascend" in capsys.readouterr().out
    assert DatasetMeta.load(folder).vocabulary_size > 2 * 715827882


def test_a_folder_whose_path_is_too_long_for_mindrecord_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "train.txt").write_text(make_rows(200, 3, 4, seed=5))
    out = tmp_path / ("x" * 200) / ("y" * 250)
    with pytest.raises(UserError, match="is longer than the 500 bytes that MindRecord takes"):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", f"--output_dir={out}"])
    assert "read:" not in capsys.readouterr().out
    # The index of the longest name in the work folder of MindRecord has just as many bytes as are allowed.
    rest = 500 - len(os.fsencode(tmp_path / "z.partial" / "unfinished" / "valid_input_part.mindrecord00.db"))
    folder = tmp_path / ("x" * 200)
    out = folder / ("y" * (rest - 200))
    main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", f"--output_dir={out}", "--line_per_sample=10"])
    assert DatasetMeta.load(out).lines == 200
