# SPDX-License-Identifier: Apache-2.0
"""Rows of several chunks, for the unit tests of preprocessing."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT, make_rows
from tests.raw_data import LARGE_FLAGS, data_digests


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Return 20,000 rows, some of them malformed, and the digests of the data that LARGE_FLAGS make of them."""
    from src.preprocess_data import main

    text = make_rows(20_000, 3, 4, seed=8)
    content = text.replace("\n1\t", "\n1\tx", 30).replace("\t05db9164\t", "\t68fd1e64\t", 500).encode() + b"\n\xff"
    folder = tmp_path_factory.mktemp("large")
    (folder / "train.txt").write_bytes(content)
    main([f"--data_path={folder}", *LARGE_FLAGS])
    return content, data_digests(folder / "mindrecord")


@pytest.fixture(scope="session")
def programs(once):
    """The folder of the test programs of ascend310_infer, built with sanitizers."""
    missing = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"{' and '.join(missing)} missing; on Debian and Ubuntu: apt-get install cmake g++", pytrace=False)

    def build(folder):
        options = ("-DUNIT_TESTS=ON", "-DSANITIZE=ON", "-DCMAKE_BUILD_TYPE=Debug")
        source = ROOT / "ascend310_infer"
        for command in (["cmake", "-S", source, "-B", folder, *options], ["cmake", "--build", folder, "--parallel=2"]):
            finished = subprocess.run(command, capture_output=True, text=True, check=False)
            assert finished.returncode == 0, finished.stdout + finished.stderr

    return once("runner_programs", build)
