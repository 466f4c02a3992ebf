# SPDX-License-Identifier: Apache-2.0
"""Multi-valued fields for oracles of networks that have one id in each field: each mean becomes a row of the tables."""

import numpy as np

TABLES = ("linear", "embedding", "statistics")


class PooledTables:
    """Weights, float64 by name, whose tables end with the mean of each multi-valued field of each row.

    ids: [B, S], of these tables.
    """

    def __init__(self, weights, sparse_ids, list_lengths):
        self._sources = []  # of each row at the end of the tables, the ids of which it is the mean
        self._row_count = len(weights["linear"])
        single = sparse_ids.shape[1] - sum(list_lengths)
        rows = []
        for row in sparse_ids.tolist():
            ids, rest = row[:single], row[single:]
            for length in list_lengths:
                self._sources.append([id_ for id_ in rest[:length] if id_ >= 0])
                rest = rest[length:]
                ids.append(self._row_count + len(self._sources) - 1)
            rows.append(ids)
        self.ids = np.array(rows)
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        for name in set(TABLES) & weights.keys():
            table = self.weights[name]
            means = [sum(table[id_] for id_ in ids) / len(ids) if ids else 0 * table[0] for ids in self._sources]
            self.weights[name] = np.stack([*table, *means])

    def gradient_of(self, name, gradient):
        """Return the gradient of a table, from that of the longer one, by the chain rule."""
        own = gradient[: self._row_count].copy()
        for ids, row in zip(self._sources, gradient[self._row_count :]):
            for id_ in ids:
                own[id_] += row / len(ids)
        return own
