# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from src.features import KEY
from src.spill import Spill


def block(seed, texts=False):
    """Return 50 rows sorted by key; the column C1 is text or codes of the same text."""
    random = np.random.default_rng(seed)
    keys = np.sort(random.integers(0, 2**64, 50, dtype=np.uint64))
    codes = random.integers(0, 2**32, 50, dtype=np.uint32)
    values = [f"{code:08x}" for code in codes] if texts else pl.Series(codes)
    return pl.DataFrame({KEY: keys, "I1": random.integers(0, 2 ** (20 * seed), 50), "C1": values}, strict=False)


def keys_of(spill):
    return [key for frame in spill.buckets() for key in frame[KEY].to_list()]


@pytest.mark.parametrize("bucket_bits", [0, 3, 8])
def test_rows_come_back_sorted_by_key(tmp_path, bucket_bits):
    spill = Spill(tmp_path / "spill", {"a": 1}, bucket_bits)
    for number in range(3):
        spill.add(block(number), {"lines": 50})
    assert keys_of(spill) == sorted(key for number in range(3) for key in block(number)[KEY])


def test_text_and_codes_of_one_column_become_text(tmp_path):
    spill = Spill(tmp_path / "spill", {}, 0)
    spill.add(block(1), {})
    spill.add(block(2, texts=True), {})
    rows = next(iter(spill.buckets()))
    expected = pl.concat([block(1, texts=True), block(2, texts=True)]).sort(KEY)
    assert rows.equals(expected)


def test_the_same_identity_goes_on_and_another_begins_anew(tmp_path):
    spill = Spill(tmp_path / "spill", {"a": 1}, 2)
    spill.add(block(1), {"n": 1})
    again = Spill(tmp_path / "spill", {"a": 1}, 2)
    assert again.notes == [{"n": 1}]
    assert keys_of(again) == block(1)[KEY].to_list()
    for identity, bits in (({"a": 2}, 2), ({"a": 1}, 3)):
        Spill(tmp_path / "spill", {"a": 1}, 2).add(block(1), {"n": 1})
        anew = Spill(tmp_path / "spill", identity, bits)
        assert (anew.notes, keys_of(anew)) == ([], [])


def test_a_block_without_its_line_in_the_journal_is_removed(tmp_path):
    spill = Spill(tmp_path / "spill", {}, 2)
    spill.add(block(1), {"n": 1})
    spill.add(block(2), {"n": 2})
    journal = tmp_path / "spill" / "journal.jsonl"
    for cut in (1, 5):  # the last line without its end, and hardly begun
        journal.write_bytes(journal.read_bytes()[:-cut])
        again = Spill(tmp_path / "spill", {}, 2)
        assert again.notes == [{"n": 1}]
        assert keys_of(again) == block(1)[KEY].to_list()
        again.add(block(2), {"n": 2})
        assert len(keys_of(again)) == 100
