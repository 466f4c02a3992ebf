# SPDX-License-Identifier: Apache-2.0
"""Rows of several chunks, for the unit tests of preprocessing."""

import pytest

from tests.conftest import make_rows
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
