# SPDX-License-Identifier: Apache-2.0
"""Rows and settings that preprocessing refuses."""

import re

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from tests.raw_data import data_digests

# Ids up to 2/3 of 2^31, of which six occur: a table of 81 numbers of 4 bytes each takes 432 GiB.
HASHED = "\n".join(f"{row % 2}\t{row}\t\t1\t{row % 3 * 715827882}\t7\t1\t2" for row in range(300))


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
def test_unusable_rows_are_refused_and_nothing_is_left(tmp_path, content, flags, message):
    (tmp_path / "train.txt").write_text(content)
    with pytest.raises(UserError, match=message):
        main([f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", *flags])
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


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


def hashed_ids(tmp_path):
    (tmp_path / "train.txt").write_text(HASHED)
    return [
        f"--data_path={tmp_path}", "--dense_dim=3", "--slot_dim=4", "--threshold=3", "--line_per_sample=50",
        "--train_line_count=0", "--skip_id_convert=1",
    ]  # fmt: skip


def test_after_a_refusal_for_memory_the_parsed_rows_are_kept_for_a_run_with_other_settings(tmp_path, capsys):
    flags = hashed_ids(tmp_path)
    with pytest.raises(UserError, match=f"; the parsed rows are kept in {tmp_path}/mindrecord.partial: use them"):
        main([*flags, "--device_target=CPU"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mindrecord.partial", "train.txt"]
    capsys.readouterr()
    other = [*flags, "--device_target=Ascend", "--threshold=2", "--dense_encoding=bucket"]
    main(other)
    printed = capsys.readouterr().out
    assert re.search(r"^read: 300 rows in .* some of it by an earlier run$", printed, re.M)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mindrecord", "train.txt"]
    expected = tmp_path / "expected"
    main([*other, f"--output_dir={expected}"])
    assert "by an earlier run" not in capsys.readouterr().out
    assert data_digests(tmp_path / "mindrecord") == data_digests(expected)


def test_settings_of_other_parsed_rows_do_not_reuse_the_kept_ones(tmp_path, capsys):
    flags = hashed_ids(tmp_path)
    with pytest.raises(UserError, match="the parsed rows are kept"):
        main([*flags, "--device_target=CPU"])
    capsys.readouterr()
    main([*flags, "--skip_id_convert=0", "--device_target=CPU"])
    assert "by an earlier run" not in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mindrecord", "train.txt"]


def test_an_interrupted_preprocessing_of_an_earlier_version_starts_anew(tmp_path, capsys):
    flags = hashed_ids(tmp_path)
    spill = tmp_path / "mindrecord.partial" / "spill"
    spill.mkdir(parents=True)
    (spill / "journal.jsonl").write_text('{"name": "train.txt"}\n[300, {"key": "UInt64"}, {"lines": 300}]\n')
    (spill / "block-000000.bin").write_bytes(b"\0" * 2400)
    main([*flags, "--device_target=Ascend"])
    assert "by an earlier run" not in capsys.readouterr().out
    assert DatasetMeta.load(tmp_path / "mindrecord").lines == 300
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mindrecord", "train.txt"]
