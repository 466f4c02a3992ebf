# SPDX-License-Identifier: Apache-2.0
"""The sizes of a DeepFM."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DeepFMConfig:
    """The sizes of the network.  Without hidden_sizes it is a factorization machine.

    list_lengths: the columns of sparse_ids of each multi-valued field; those are the last of the sparse fields.
    """

    vocabulary_size: int
    sparse_field_count: int
    dense_field_count: int
    embedding_size: int
    hidden_sizes: tuple
    keep_prob: float = 1.0  # dropout keep probability of the hidden units
    embedding_keep_prob: float = 1.0  # and of the embedding dimensions that enter the MLP
    list_lengths: tuple[int, ...] = ()
    has_statistics: bool = False  # whether the network knows the statistics of each value

    @property
    def id_count(self) -> int:
        """The number I of columns of ids."""
        return self.sparse_field_count - len(self.list_lengths) + sum(self.list_lengths)

    @property
    def statistic_count(self) -> int:
        """The number M of statistics of a row: two of each sparse field, or none."""
        return 2 * self.sparse_field_count if self.has_statistics else 0
