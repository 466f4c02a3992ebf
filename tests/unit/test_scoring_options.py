# SPDX-License-Identifier: Apache-2.0
import pytest

from src.common.errors import UserError
from src.common.options import load_options
from src.scoring.options import DESCRIPTION, OnBadRow, ScoringOptions


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
