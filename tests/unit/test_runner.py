# SPDX-License-Identifier: Apache-2.0
"""The C++ unit tests of ascend310_infer, built with sanitizers; they need no MindSpore Lite."""

import pathlib
import random
import subprocess

import pytest
from google.protobuf.message import DecodeError
from mindspore.train import mind_ir_pb2

from ascend310_infer.write_bucket_starts import source_text
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.package.raw_encoding import RawEncoding
from tests import click_log
from tests.conftest import ROOT
from tests.fuzzed_rows import encode_in_cpp, encode_in_python, fuzzed, joined, raw_lines

SOURCE = ROOT / "ascend310_infer"
SUBJECTS = sorted(path.name.removesuffix("_test.cc") for path in (SOURCE / "tests").glob("*_test.cc"))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_cpp_tests_of_a_subject_pass(programs, subject):
    finished = subprocess.run([programs / "unit_tests", subject], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_subject_without_tests_does_not_pass(programs):
    finished = subprocess.run([programs / "unit_tests", "none"], capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (1, "0 passed, 0 failed\n")


def test_the_metadata_of_damaged_mindir_files_are_those_that_protobuf_reads(programs, tmp_path):
    """Where protobuf refuses a file, any answer will do, but no crash."""
    identity = DataIdentity("ab12", ("C1", "C2", "C3"), ("I1", "I2"), "log", ((2.5, 0.75), (1.0, 2.0)), 20)
    model = mind_ir_pb2.ModelProto(ir_version="1", producer_name="x" * 300, mind_ir_version=2**62)
    model.graph.name = "y" * 200
    model.user_info.update(identity.to_metadata())
    dice = random.Random(2)
    paths = []
    for number in range(1000):
        paths.append(tmp_path / f"{number}.mindir")
        paths[-1].write_bytes(damaged(model.SerializeToString(), dice))
    finished = subprocess.run([programs / "print_metadata", *paths], capture_output=True, text=True, check=True)
    compared = 0
    for path, line in zip(paths, finished.stdout.splitlines(), strict=True):
        expected = read_with_protobuf(path)
        if "data_identity" in expected:
            found = dict(pair.split("=") for pair in line.split())
            assert found == {name.encode().hex(): value.encode().hex() for name, value in expected.items()}, path
            compared += 1
    assert compared > 300


def damaged(content, dice):
    """Return bytes of which up to three are replaced; in three of ten cases they are also truncated."""
    content = bytearray(content)
    for _ in range(dice.randrange(4)):
        content[dice.randrange(len(content))] = dice.randrange(128)
    if dice.random() < 0.3:
        del content[dice.randrange(len(content)) :]
    return content


def read_with_protobuf(path: pathlib.Path) -> dict:
    """Return the user_info of a MindIR file; nothing if protobuf refuses the file."""
    try:
        return dict(mind_ir_pb2.ModelProto.FromString(path.read_bytes()).user_info)
    except (DecodeError, UnicodeDecodeError):
        return {}


def test_the_bucket_starts_are_those_of_preprocessing():
    assert (SOURCE / "src" / "bucket_starts.inc").read_text() == source_text()


ENCODINGS = (
    ("--dense_encoding=log+bin",),
    ("--dense_encoding=max",),
    ("--dense_encoding=log",),
    ("--dense_encoding=bucket",),
    ("--dense_encoding=log+bin", "--skip_id_convert=1"),
    ("--dense_encoding=log", "--skip_id_convert=1"),
    ("--dense_encoding=log+bin", "--negative_label=-1"),
)


@pytest.mark.parametrize("flags", ENCODINGS, ids=" ".join)
def test_fuzzed_rows_are_encoded_as_in_python(programs, make_dataset, tmp_path, flags):
    kind = ("--skip_id_convert=1" in flags, "--negative_label=-1" in flags)
    training = b"\n".join(raw_lines(5, 1203, *kind, has_label=True)).decode()
    encoding = RawEncoding.of_dataset(DatasetMeta.load(make_dataset(*flags, content=training)))
    for has_label in (True, False):
        content = joined(fuzzed(raw_lines(7, 2000, *kind, has_label), random.Random(9)))
        found = encode_in_cpp(programs, encoding, content, tmp_path / str(has_label))
        expected = encode_in_python(encoding, content)
        assert len(found) == len(expected)
        assert [pair for pair in zip(found, expected) if pair[0] != pair[1]] == []
        assert 0.2 < sum(line[-1] == " " for line in found) / len(found) < 0.9
        assert set(found) > {
            "columns",
            "encoding",
            "integer",
            *(["label"] if has_label else []),
            *(["id"] if kind[0] else []),
        }


def without(*names):
    return tuple(name for name in click_log.NAMES if name not in names)


@pytest.mark.parametrize("columns", [click_log.NAMES, without("click"), (*without("click", "time"), "click")])
def test_lines_of_a_click_log_are_encoded_as_in_python(programs, click_log_data, tmp_path, columns):
    encoding = RawEncoding.of_dataset(DatasetMeta.load(click_log_data))
    content = b"\n".join(click_log.fuzzed_lines(3, 6000, columns))
    found = encode_in_cpp(programs, encoding, content, tmp_path / "package")
    expected = encode_in_python(encoding, content)
    lines = content.split(b"\n")
    different = [case for case in zip(lines, found, expected, strict=True) if case[1] != case[2]]
    assert different == []
    assert set(found) > {"columns", "encoding", "integer", *(["label"] if "click" in columns else [])}
    assert 0.4 < sum(line[-1] == " " for line in found) / len(found) < 0.9


def test_texts_that_are_no_rows_are_encoded_as_in_python(programs, dataset, tmp_path):
    encoding = RawEncoding.of_dataset(DatasetMeta.load(dataset))
    row = b"1\t5\t\t7\ta\tb\t\t05db9164"
    long_row = b"0\t1\t2\t3\ta\tb\tc\t" + b"x" * 10_000_000
    texts = [
        row,
        b"\n",
        b"\n\n" + row + b"\n\n",
        b"\r\n",
        b"\t" * 7,
        b"\x00" * 100,
        b"\xff" * 1000,
        long_row + b"\n" + row,
    ]
    texts += [b"7" * 10_000_000 + b"\n" + row, b"\xef\xbb\xbf" + row, row + b"\r", (row[2:] + b"\n") * 2 + row]
    texts += [
        b"1\t" + b"0" * 1_000_000 + b"5\t.5e1\t7\ta\tb\t\t" + b"y" * 9,
        (row + b"\n") * 600 + (row[2:] + b"\n") * 1400,
    ]
    for index, text in enumerate(texts):
        assert encode_in_cpp(programs, encoding, text, tmp_path / str(index)) == encode_in_python(encoding, text), index


def test_an_empty_text_has_no_rows(programs, dataset, tmp_path):
    assert encode_in_cpp(programs, RawEncoding.of_dataset(DatasetMeta.load(dataset)), b"", tmp_path / "empty") == []
