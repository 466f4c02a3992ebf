# SPDX-License-Identifier: Apache-2.0
"""ascend310_infer/fuzz.sh: the reader, the encoder and the parser of package.json under a fuzzer with sanitizers."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT

SECONDS = 20  # of each of the two fuzzers
BUILD_SECONDS = 600


@pytest.mark.slow
def test_the_fuzzers_find_no_fault_and_the_corpus_reaches_nearly_all_of_the_code(tmp_path):
    """The coverage is that of the inputs in tests/corpus/ alone, so that it does not depend on what a fuzzer finds."""
    for name in ("ascend310_infer", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("out", "out_fuzz"))
    command = ["bash", tmp_path / "ascend310_infer" / "fuzz.sh", str(SECONDS)]
    timeout = BUILD_SECONDS + 3 * SECONDS
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    counts = re.findall(r"number_of_executed_units (\d+)", finished.stdout)
    assert len(counts) == 2
    assert min(map(int, counts)) > 100
    covered = dict(re.findall(r"^(\w+\.cc) .*?(\d+\.\d+)%", finished.stdout, re.M))  # the first is that of regions
    assert float(covered["raw_rows.cc"]) > 95
    assert float(covered["cells.cc"]) > 95
    assert float(covered["encoder.cc"]) > 95
    assert float(covered["split_cells.cc"]) > 95
    assert float(covered["manifest.cc"]) > 85
    assert float(covered["schema_json.cc"]) > 95


def test_wrong_arguments_end_in_the_usage():
    for arguments in (["x"], ["0"], ["1", "2"]):
        command = ["bash", ROOT / "ascend310_infer" / "fuzz.sh", *arguments]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (finished.returncode, finished.stdout) == (2, "")
        assert finished.stderr == "usage: bash fuzz.sh [SECONDS]\n"
