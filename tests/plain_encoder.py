# SPDX-License-Identifier: Apache-2.0
"""Floats, multi-valued categories and the rest of a row to ids and dense values, cell by cell in plain Python."""

import bisect
import math
import statistics
from collections import Counter

from tests import oracles

BUCKETS = 100
LARGEST_OF_FLOATS = 1e3


def edges_of(numbers):
    """Return the first value of each bucket but the first, from the numbers of all rows, sorted row by row."""
    ordered = sorted(numbers)
    ends = {ordered[math.ceil(number * len(ordered) / BUCKETS) - 1] for number in range(1, BUCKETS)} if ordered else ()
    larger = [bisect.bisect_right(ordered, end) for end in ends]
    return sorted({ordered[index] for index in larger if index < len(ordered)})


def values_of(cell, separator):
    """Return the values in a multi-valued cell; one that is empty if there is none."""
    return [value for value in cell.split(separator) if value] or [""]


class PlainEncoder:
    """Learns from rows, dicts with a cell of each column: integers and floats None if missing, texts empty then.

    integers, floats, categories: names.  lists: separators by name.
    """

    def __init__(self, rows, integers, floats, categories, lists, dense_encoding, threshold, list_lengths):
        self.integers, self.floats, self.categories, self.lists = integers, floats, categories, lists
        self.encoding, self.list_lengths = str(dense_encoding), list_lengths
        self.edges = {name: edges_of([row[name] for row in rows if row[name] is not None]) for name in floats}
        self.fields = [*(integers + floats if oracles.has_buckets(self.encoding) else []), *categories, *lists]
        self.ids, next_id = {}, len(self.fields)
        for field in self.fields:
            counts = Counter(value for row in rows for value in self._values(field, row))
            for value in sorted(counts, key=lambda value: (-counts[value], value.encode())):
                if field in floats or counts[value] > threshold:
                    self.ids[field, value] = next_id
                    next_id += 1
        self.size = next_id
        self.scales = {name: self._scale([row[name] for row in rows]) for name in integers + floats}

    def _values(self, field, row):
        """Return the values of a field in a row, as text."""
        if field in self.lists:
            return values_of(row[field], self.lists[field])
        if field in self.categories:
            return [row[field]]
        if field in self.integers:
            return [oracles.bucket_or_bin(row[field], self.encoding)]
        return ["" if row[field] is None else str(sum(edge <= row[field] for edge in self.edges[field]))]

    def _magnitude(self, number):
        return number if self.encoding == "max" else math.copysign(math.log1p(abs(number)), number)

    def _scale(self, numbers):
        numbers = [self._magnitude(number) for number in numbers if number is not None]
        if not numbers:
            return 0, 1
        if self.encoding == "max":
            return 0, max(map(abs, numbers)) or 1
        if len(set(numbers)) == 1:
            return numbers[0], 1
        return statistics.fmean(numbers), statistics.pstdev(numbers) or 1

    def sparse_ids(self, row):
        """Return the ids of a row, -1 behind those of a multi-valued field."""
        ids = []
        for number, field in enumerate(self.fields):
            length = self.list_lengths.get(field, 1)
            found = [self.ids.get((field, value), number) for value in self._values(field, row)[:length]]
            ids += found + [-1] * (length - len(found))
        return ids

    def dense_values(self, row):
        """Return the dense values of a row."""
        if self.encoding in ("bin", "bucket"):
            return []
        return [self._dense_value(name, row[name]) for name in self.integers + self.floats]

    def _dense_value(self, name, number):
        if number is None:
            return 0.0
        center, divisor = self.scales[name]
        value = (self._magnitude(number) - center) / divisor
        return min(max(value, -LARGEST_OF_FLOATS), LARGEST_OF_FLOATS) if name in self.floats else value
