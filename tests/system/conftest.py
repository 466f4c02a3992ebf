# SPDX-License-Identifier: Apache-2.0
"""What the tests that train share: the MindRecord of a few generated rows."""

import pytest

from src.criteo_like import write_rows
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def data(tmp_path_factory, run):
    """4,850 train rows or so: the last record of 100 is not whole, and 12 steps of 4 records leave one out."""
    work = tmp_path_factory.mktemp("data")
    write_rows(work / "train.txt", 6000, seed=2)
    flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")
    finished = run(ROOT / "src" / "preprocess_data.py", f"--data_path={work}", *flags)
    assert finished.returncode == 0, finished.stderr
    return work / "mindrecord"
