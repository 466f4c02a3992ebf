# SPDX-License-Identifier: Apache-2.0
"""Ids by code, from a hash table that is built once: a join would build one for each portion of rows."""

import numpy as np

MULTIPLIER = np.uint32(2654435769)  # 2^32 by the golden ratio: Knuth, The Art of Computer Programming, section 6.4
SLOTS_PER_CODE = 4  # at least: then seven of eight codes are in the first slot that is tried
CODE_BITS = 32
NO_ID = -1  # of a slot without a code
SLOT = np.dtype([("id", np.int32), ("code", np.uint32)])  # read as one uint64, which numpy copies faster
WINDOW = 8  # slots after the first one that are tried at once


class CodeLookup:
    """Maps codes to ids.

    codes: distinct, uint32 [n].  ids: int32 [n], from 0 on.  default: the id of all other codes.
    The table has open addressing with linear probing; no code is more than `reach` slots behind the first one that is
    tried for it.
    """

    def __init__(self, codes: np.ndarray, ids: np.ndarray, default: int):
        bits = max(int(SLOTS_PER_CODE * len(codes)).bit_length(), 1)
        self._shift, self._last = np.uint32(CODE_BITS - bits), np.uint32(2**bits - 1)
        self._default = np.int32(default)
        table = np.zeros(2**bits, SLOT)
        table["id"] = NO_ID
        self._reach = 0
        slots = self._first_slots(codes)
        while len(codes):
            free = table["id"][slots] == NO_ID
            taken, first = np.unique(slots[free], return_index=True)  # one code of those that want the same slot
            table["id"][taken], table["code"][taken] = ids[free][first], codes[free][first]
            rest = (table["code"][slots] != codes) | (table["id"][slots] == NO_ID)
            codes, ids, slots = codes[rest], ids[rest], (slots[rest] + np.uint32(1)) & self._last
            self._reach += len(codes) > 0
        self._table = table.view(np.uint64)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return the ids, int32 [m], of codes, uint32 [m]."""
        slots = self._first_slots(codes)
        entries = self._table[slots].view(SLOT)
        is_missed = entries["code"] != codes
        is_taken = entries["id"] != NO_ID
        ids = np.where(is_missed | ~is_taken, self._default, entries["id"])
        rows = np.flatnonzero(is_missed & is_taken)
        for step in range(1, self._reach + 1, WINDOW):
            steps = np.arange(step, min(step + WINDOW, self._reach + 1), dtype=np.uint32)
            window = self._table[(slots[rows, None] + steps) & self._last].view(SLOT)  # [rows, steps]
            at, column = np.nonzero((window["code"] == codes[rows, None]) & (window["id"] != NO_ID))
            ids[rows[at]] = window["id"][at, column]
        return ids

    def _first_slots(self, codes):
        return codes * MULTIPLIER >> self._shift
