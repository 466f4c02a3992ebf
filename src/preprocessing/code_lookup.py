# SPDX-License-Identifier: Apache-2.0
"""Ids by code, from a hash table that is built once: a join would build one for each portion of rows."""

import numpy as np

MULTIPLIER = np.uint32(2654435769)  # 2^32 by the golden ratio: Knuth, The Art of Computer Programming, section 6.4
SLOTS_PER_CODE = 4  # at least: then seven of eight codes are in the first slot that is tried
CODE_BITS = 32
NO_ID = 2**32 - 1  # of a slot without a code; ids are below 2^31


class CodeLookup:
    """Maps codes to ids.

    codes: distinct, uint32 [n].  ids: int32 [n].  default: the id of all other codes.
    The table has open addressing with linear probing; a slot is a code in its upper and the id in its lower half.
    """

    def __init__(self, codes: np.ndarray, ids: np.ndarray, default: int):
        bits = max(int(SLOTS_PER_CODE * len(codes)).bit_length(), 1)
        self._shift, self._last = np.uint32(CODE_BITS - bits), np.uint32(2**bits - 1)
        self._default = np.int32(default)
        self._table = np.full(2**bits, NO_ID, np.uint64)
        entries = codes.astype(np.uint64) << np.uint64(CODE_BITS) | ids.astype(np.uint64)
        slots = self._first_slots(codes)
        while len(entries):
            free = self._table[slots] == NO_ID
            taken, first = np.unique(slots[free], return_index=True)  # one code of those that want the same slot
            self._table[taken] = entries[free][first]
            rest = self._table[slots] != entries
            entries, slots = entries[rest], (slots[rest] + np.uint32(1)) & self._last

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return the ids, int32 [m], of codes, uint32 [m]."""
        slots = self._first_slots(codes)
        ids, rows = self._read(slots, codes)
        slots = slots[rows]
        while len(rows):
            slots = (slots + np.uint32(1)) & self._last
            ids[rows], rest = self._read(slots, codes[rows])
            rows, slots = rows[rest], slots[rest]
        return np.where(ids == NO_ID, self._default, ids.view(np.int32))

    def _first_slots(self, codes):
        return codes * MULTIPLIER >> self._shift

    def _read(self, slots, codes):
        """Return the ids, uint32 [m], of codes in these slots, and the indices of those to be sought in the next slot.

        The id is NO_ID for a code that is not in its slot; if the slot is empty, the code is in none.
        """
        entries = self._table[slots]
        is_found = entries >> np.uint64(CODE_BITS) == codes
        ids = np.where(is_found, entries.astype(np.uint32), np.uint32(NO_ID))
        return ids, np.flatnonzero(~is_found & (entries != NO_ID))
