# SPDX-License-Identifier: Apache-2.0
import pytest

from src.common.errors import UserError
from src.common.options import load_options
from src.scoring.options import DESCRIPTION, OnBadRow, ScoringOptions, check_paths


def options_for(tmp_path, **changes):
    paths = {"model_path": tmp_path, "input_path": tmp_path / "rows.txt", "output_path": tmp_path / "scores.csv"}
    flags = [f"--{key}={value}" for key, value in {**paths, **changes}.items()]
    return load_options(ScoringOptions, flags, DESCRIPTION)


def test_flags_give_the_options(tmp_path):
    found = options_for(tmp_path, on_bad_row="empty", keep_columns="label,C3,label", explain="True")
    assert (found.on_bad_row, found.kept_names, found.explain) == (OnBadRow.EMPTY, ("label", "C3"), True)
    assert options_for(tmp_path).kept_names == ()
    with pytest.raises(UserError, match="--on_bad_row=stop: must be one of skip, empty, fail"):
        options_for(tmp_path, on_bad_row="stop")


def test_paths_that_cannot_work_are_refused(tmp_path):
    for changes, message in [
        ({"model_path": tmp_path / "none"}, "--model_path=.*none: no such file or folder"),
        ({}, "--input_path=.*rows.txt: no such file; name a file of raw rows, or - for stdin"),
        ({"input_path": tmp_path}, "is a folder; name a file in it"),
    ]:
        with pytest.raises(UserError, match=message):
            check_paths(options_for(tmp_path, **changes))
    (tmp_path / "rows.txt").touch()
    check_paths(options_for(tmp_path))
    check_paths(options_for(tmp_path, input_path="-", output_path="-"))
    (tmp_path / "link").symlink_to(tmp_path / "rows.txt")
    with pytest.raises(UserError, match="is the file of the rows; name another one"):
        check_paths(options_for(tmp_path, output_path=tmp_path / "link"))
