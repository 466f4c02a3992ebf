# SPDX-License-Identifier: Apache-2.0
"""evaluations.json: what is written is read again, by checkpoint, whoever else writes and whatever has been damaged."""

import functools
import json
import math
import os
import re
import subprocess
import sys

import pytest

from src.common.errors import UserError
from src.evaluation.recalibration import Method, Recalibration
from src.evaluation.record import EvaluationRecord
from tests.conftest import ROOT
from tests.json_files import strict_json

TEST = {"auc": 0.75, "auc_interval": [0.7, 0.8], "log_loss": 0.5, "calibration": 1.0}
PLATT = Recalibration(Method.PLATT, (-1.0, 1.0), (-2.0, 1.5))
RECORD = EvaluationRecord(TEST, PLATT, 1000)


@pytest.fixture
def checkpoint(tmp_path):
    (tmp_path / "deepfm-1_9.ckpt").touch()
    return tmp_path / "deepfm-1_9.ckpt"


def test_a_record_is_read_as_it_was_written(checkpoint):
    assert EvaluationRecord.load(checkpoint, "a" * 64) == EvaluationRecord(None, None, 0)
    for record in (RECORD, EvaluationRecord(TEST)):
        record.save(checkpoint, "a" * 64, is_fitted=True)
        assert EvaluationRecord.load(checkpoint, "a" * 64) == record
    assert sorted(os.listdir(checkpoint.parent)) == ["deepfm-1_9.ckpt", "evaluations.json"]


def test_metrics_of_one_class_are_written_as_strict_json(checkpoint):
    metrics = {**TEST, "auc": math.nan, "auc_interval": [math.nan, math.nan]}
    EvaluationRecord(metrics).save(checkpoint, "a" * 64, is_fitted=True)
    strict_json(checkpoint.with_name("evaluations.json"))
    expected = {**TEST, "auc": None, "auc_interval": [None, None]}
    assert EvaluationRecord.load(checkpoint, "a" * 64).test == expected


def test_the_record_of_a_file_that_has_changed_is_ignored(checkpoint):
    RECORD.save(checkpoint, "a" * 64, is_fitted=True)
    assert EvaluationRecord.load(checkpoint, "b" * 64) == EvaluationRecord()


def test_each_checkpoint_has_its_own_until_it_is_removed(checkpoint):
    other = checkpoint.with_name("deepfm-2_9.ckpt")
    other.touch()
    RECORD.save(checkpoint, "a" * 64, is_fitted=True)
    EvaluationRecord(TEST).save(other, "b" * 64, is_fitted=True)
    assert EvaluationRecord.load(checkpoint, "a" * 64) == RECORD
    checkpoint.unlink()
    EvaluationRecord(TEST).save(other, "c" * 64, is_fitted=True)
    content = json.loads(checkpoint.with_name("evaluations.json").read_text())
    assert content["checkpoints"].keys() == {"deepfm-2_9.ckpt"}


def test_a_recalibration_that_was_fitted_in_the_meantime_stays(checkpoint):
    RECORD.save(checkpoint, "a" * 64, is_fitted=True)
    EvaluationRecord(TEST).save(checkpoint, "a" * 64, is_fitted=False)  # of a process that began before it
    assert EvaluationRecord.load(checkpoint, "a" * 64) == RECORD
    later = EvaluationRecord({**TEST, "auc": 0.7}, PLATT, 1000)
    later.save(checkpoint, "a" * 64, is_fitted=False)
    assert EvaluationRecord.load(checkpoint, "a" * 64) == later


SAVE = """
import pathlib, sys
from src.evaluation.record import EvaluationRecord
for fitted_rows in range(1, 41):
    EvaluationRecord(None, None, fitted_rows).save(pathlib.Path(sys.argv[1]), "a", is_fitted=True)
"""


def test_processes_that_write_at_the_same_time_lose_nothing(tmp_path):
    names = [f"deepfm-{epoch}_9.ckpt" for epoch in range(4)]
    for name in names:
        (tmp_path / name).touch()
    writers = [subprocess.Popen([sys.executable, "-c", SAVE, str(tmp_path / name)], cwd=ROOT) for name in names]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * 4
    assert [EvaluationRecord.load(tmp_path / name, "a").fitted_rows for name in names] == [40] * 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: "\x00",
        lambda text: text.replace("checkpoints", "files"),
        lambda text: text.replace("sha256", "sha"),
        lambda text: text.replace("fitted_rows", "rows"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(checkpoint, damage):
    RECORD.save(checkpoint, "a" * 64, is_fitted=True)
    path = checkpoint.with_name("evaluations.json")
    path.write_text(damage(path.read_text()))
    for action in (EvaluationRecord.load, functools.partial(RECORD.save, is_fitted=True)):
        with pytest.raises(UserError, match=f"^{re.escape(str(path))} is damaged .*; remove it and run eval.py again$"):
            action(checkpoint, "a" * 64)


def test_a_file_that_is_not_utf8_a_newer_one_and_a_damaged_recalibration_are_refused(checkpoint):
    path = checkpoint.with_name("evaluations.json")
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"is damaged .*; remove it"):
        EvaluationRecord.load(checkpoint, "a" * 64)
    path.unlink()
    RECORD.save(checkpoint, "a" * 64, is_fitted=True)
    text = path.read_text()
    path.write_text(text.replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(UserError, match=r"written by another version of eval\.py; remove it and run eval.py again"):
        EvaluationRecord.load(checkpoint, "a" * 64)
    path.write_text(text.replace("platt", "beta"))
    with pytest.raises(UserError, match=r"evaluations\.json: the recalibration is damaged"):
        EvaluationRecord.load(checkpoint, "a" * 64)
