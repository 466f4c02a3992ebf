# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.errors import UserError
from src.preprocessing.schema import CRITEO, FieldSchema, TextFormat
from src.preprocessing.source import CSV, Source, schema_of_file


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(source):
    return [file.name for file in source.files]


def test_the_files_of_criteo_come_first_and_origin_data_is_searched_first(tmp_path):
    make(tmp_path, "dac.tar.gz", "other.txt")
    assert Source.find(str(tmp_path)).files == (tmp_path / "dac.tar.gz",)
    make(tmp_path, "origin_data/train.txt.gz")
    assert Source.find(str(tmp_path)).files == (tmp_path / "origin_data" / "train.txt.gz",)
    make(tmp_path, "origin_data/train.txt")
    assert Source.find(f"{tmp_path}/").files == (tmp_path / "origin_data" / "train.txt",)


def test_all_files_of_rows_in_a_folder_are_taken_by_the_numbers_in_their_names(tmp_path):
    make(tmp_path, "day_10.gz", "day_2.gz", "day_1.csv", "day_3.parquet")
    make(tmp_path, "_SUCCESS", ".hidden.txt", "a.png", "in/x.txt")
    assert names_of(Source.find(str(tmp_path))) == ["day_1.csv", "day_2.gz", "day_3.parquet", "day_10.gz"]


def test_a_file_a_pattern_and_a_list_are_taken_in_their_order(tmp_path):
    make(tmp_path, "day_10", "day_9", "b.txt", "with,comma.txt")
    assert names_of(Source.find(str(tmp_path / "day_9"))) == ["day_9"]
    assert names_of(Source.find(str(tmp_path / "day_*"))) == ["day_9", "day_10"]
    assert names_of(Source.find(f"{tmp_path}/b.txt, {tmp_path}/day_*")) == ["b.txt", "day_9", "day_10"]
    assert names_of(Source.find(str(tmp_path / "with,comma.txt"))) == ["with,comma.txt"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "no train.txt, train.txt.gz, dac.tar.gz and no other file of rows in .*; --data_path names the folder"),
        ("x.txt", "--data_path=.*x.txt: no such file or folder"),
        ("day_*", r"--data_path=.*day_\*: no such file or folder"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, path, message):
    with pytest.raises(UserError, match=message):
        Source.find(str(tmp_path / path))


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    make(tmp_path, "a.txt", "b.txt")
    with pytest.raises(UserError, match=r"--input_path names .*b\.txt twice"):
        Source.find(f"{tmp_path}/*.txt,{tmp_path}/b.txt", "input_path")


def test_files_of_their_own_come_last_and_decide_on_the_split(tmp_path):
    make(tmp_path, "train/2.csv", "train/10.csv", "valid.csv", "t1.csv", "t2.csv")
    train, valid, test = f"{tmp_path}/train", f"{tmp_path}/valid.csv", f"{tmp_path}/t*.csv"
    source = Source.find_splits(train, valid, test)
    assert names_of(source) == ["2.csv", "10.csv", "valid.csv", "t1.csv", "t2.csv"]
    assert [source.split_of(number) for number in range(5)] == [0, 0, 1, 2, 2]
    assert names_of(source.divided) == ["2.csv", "10.csv"]
    source = Source.find_splits(train, None, test)
    assert [source.split_of(number) for number in range(4)] == [0, 0, 2, 2]
    source = Source.find_splits(train, valid, None)
    assert [source.split_of(number) for number in range(3)] == [0, 0, 1]
    assert Source.find_splits(train, None, None) == Source.find(train) == Source.find(train).divided


def test_the_fractions_of_files_of_their_own_are_by_their_text(tmp_path):
    for name, size in (("a.csv", 100), ("v.csv", 60), ("t.csv.gz", 100)):
        (tmp_path / name).write_bytes(b"x" * size)
    source = Source.find_splits(*(f"{tmp_path}/{name}" for name in ("a.csv", "v.csv", "t.csv.gz")))
    # A packed file counts 2.4 times.
    assert source.own_fractions == (60 / 400, 240 / 400)
    make(tmp_path, "0.csv")
    assert Source.find_splits(f"{tmp_path}/0.csv", None, None).own_fractions == (0.0, 0.0)


@pytest.mark.parametrize("again", ["a.csv", "./b/../a.csv", "link.csv"])
def test_a_file_of_two_splits_is_refused_by_whatever_path(tmp_path, again):
    make(tmp_path, "a.csv", "b/c.csv")
    (tmp_path / "link.csv").symlink_to("a.csv")
    for paths in ((f"{tmp_path}/{again}", None), (None, f"{tmp_path}/{again}")):
        with pytest.raises(UserError, match=r"\.csv is in several of --data_path, --valid_path and --test"):
            Source.find_splits(f"{tmp_path}/a.csv", *paths)
    with pytest.raises(UserError, match=r"--test_path=.*nothing: no such file or folder"):
        Source.find_splits(f"{tmp_path}/a.csv", None, f"{tmp_path}/nothing")


def test_the_identity_tells_files_of_other_splits_apart(tmp_path):
    make(tmp_path, "a.csv", "b.csv", "c.csv")
    a, b, c = (f"{tmp_path}/{name}.csv" for name in "abc")
    choices = [(f"{a},{b},{c}", None, None), (f"{a},{b}", c, None), (f"{a},{b}", None, c), (a, b, c), (a, c, b),
               (a, f"{b},{c}", None), (b, a, c), (a, b, None), (a, None, b)]  # fmt: skip
    identities = [json.dumps(Source.find_splits(*choice).identity()) for choice in choices]
    assert len(set(identities)) == len(choices)
    # As it was before there were such files.
    assert set(Source.find(f"{a},{b}").identity()) == {"files"}
    assert set(Source.find(a).identity()) == {"name", "bytes", "mtime_ns"}


def test_the_identity_is_that_of_all_files(tmp_path):
    for name, content in (("a.txt", "1"), ("b.txt", "22")):
        (tmp_path / name).write_text(content)
    one, both = Source.find(str(tmp_path / "a.txt")), Source.find(str(tmp_path))
    assert one.identity()["name"] == "a.txt"
    assert [each["bytes"] for each in both.identity()["files"]] == [1, 2]
    assert both.text_bytes == 3
    (tmp_path / "b.txt").write_text("333")
    assert both.identity() != Source.find(str(tmp_path / "b.txt")).identity()


def test_a_csv_has_commas_and_a_header_unless_a_schema_says_otherwise(tmp_path):
    schema = FieldSchema.criteo(1, 1)
    for name, text in (("a.csv", CSV), ("a.csv.gz", CSV), ("a.txt", CRITEO), ("day_0", CRITEO)):
        assert schema_of_file(schema, tmp_path / name).text == text
    semicolons = FieldSchema(("I1",), ("C1",), text=TextFormat(";"))
    assert schema_of_file(semicolons, tmp_path / "a.csv") == semicolons
