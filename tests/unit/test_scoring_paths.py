# SPDX-License-Identifier: Apache-2.0
"""A scoring never writes over the model or the rows."""

import os
import re

import pytest

from src.common.errors import UserError
from src.scoring.options import ScoringOptions
from src.scoring.paths import check_paths


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with rows, a package, and a folder with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    for name in ("rows.txt", "model/package.json", "checkpoint/deepfm-1_9.ckpt", "checkpoint/model.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def check(model_path="model", input_path="rows.txt", output_path="scores.csv"):
    check_paths(ScoringOptions(model_path, input_path, output_path))


def assert_refused(message, **paths):
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        check(**paths)


def test_the_inputs_must_exist(folder):
    check()
    check(input_path="-", output_path="-")
    assert_refused("--model_path=none: no such file or folder", model_path="none")
    assert_refused("--input_path=a.txt: no such file or folder", input_path="a.txt")
    assert_refused("no train.txt, train.txt.gz, dac.tar.gz and no other file of rows in ", input_path="model")


@pytest.mark.parametrize(("rows", "output"), [("rows", "rows"), ("a.partial", "a"), ("a.journal", "a")])
def test_no_file_that_is_written_is_that_of_the_rows(folder, rows, output):
    (folder / rows).touch()
    (folder / "link").symlink_to(folder / output)
    (folder / "rows-link").symlink_to(folder / rows)
    for input_path in (rows, "rows-link"):
        for output_path in (output, "link", f"model/../{output}"):
            assert_refused(
                f"--output_path={output_path}: {folder / rows} is the file of the rows; name another path",
                input_path=input_path,
                output_path=output_path,
            )
    check(input_path="-", output_path=output)


@pytest.mark.parametrize(
    ("model", "output"),
    [
        ("model", "model/scores.csv"),
        ("model", "model/scores/today.csv"),
        ("checkpoint", "checkpoint/deepfm-1_9.ckpt"),
        ("checkpoint/deepfm-1_9.ckpt", "checkpoint/deepfm-1_9.ckpt"),
        ("checkpoint/deepfm-1_9.ckpt", "checkpoint/model.json"),
        ("link", "model/scores.csv"),
        ("model", "link/scores.csv"),
    ],
)
def test_no_file_is_written_where_the_model_is(folder, model, output):
    (folder / "link").symlink_to("model")
    file = os.path.realpath(output)
    message = f"--output_path={output}: {file} is where the model is; name another path"
    assert_refused(message, model_path=model, output_path=output)
    assert_refused(message, model_path=model, output_path=output, input_path="-")


def test_a_link_from_a_partial_file_to_the_model_is_refused(folder):
    (folder / "scores.csv.partial").symlink_to("model/package.json")
    assert_refused(f"--output_path=scores.csv: {folder}/model/package.json is where the model is")


def test_outside_the_folder_of_the_model_and_to_a_device_scores_can_be_written(folder):
    (folder / "deepfm-1_9.ckpt").touch()
    check(output_path="model.csv")
    check(model_path="checkpoint/deepfm-1_9.ckpt", output_path="checkpoint/scores/today.csv")
    check(model_path="deepfm-1_9.ckpt", output_path="/dev/null")
    check(model_path="deepfm-1_9.ckpt", output_path="model/today.csv")
