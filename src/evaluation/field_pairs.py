# SPDX-License-Identifier: Apache-2.0
"""The strongest pairs of fields in the FM component: the terms <e_i, e_j> of the logit that differ most among rows.

Letters as in src.deepfm.  Here e_i is the sum of the vectors of all parts of a field: of a number with a dense value
and a bucket that is value * row + row of its bucket.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from src.dataset_meta import PADDING_LABEL
from src.distributed.process_group import ProcessGroup
from src.evaluation.field_sample import FieldSample, InputField

PAIR_COUNT = 10
MOST_PRODUCTS = 1 << 20  # of vectors, float64, that are in memory at once

# From sparse_ids int32 [B, I] to the vectors of the sparse fields, float32 [B, S, D].
LookUp = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class FieldPair:
    """A pair of fields: the standard deviation over rows of its term of the logit, and the mean, by weight."""

    fields: tuple[str, str]
    deviation: float
    mean: float


def strongest_pairs(
    look_up: LookUp,
    dense_embedding: np.ndarray | None,
    sample: FieldSample,
    fields: Sequence[InputField],
    ranks: ProcessGroup,
) -> list[FieldPair]:
    """Return the PAIR_COUNT pairs of fields whose terms deviate most.  Collective: all ranks look up as many batches.

    A term that is the same in all rows has no influence on how they rank, so the mean does not count.
    look_up: called with batches of sample.batch_rows.  dense_embedding: float32 [N, D], or None if N is 0.
    """
    firsts, seconds = np.triu_indices(len(fields), 1)
    blocks = []
    for start in range(0, sample.row_count, sample.batch_rows):
        rows = np.arange(start, start + sample.batch_rows)
        vectors = look_up(sample.sparse_ids[rows % sample.row_count])
        for block in _blocks(rows[rows < sample.row_count], len(fields)):
            terms = _terms(_field_vectors(vectors[block - start], dense_embedding, sample, block, fields))
            blocks.append(_moments(terms, _weights(sample, block)))
    means, deviations = _combine(ranks.gather(np.concatenate(blocks)).reshape(len(blocks) * ranks.count, -1))
    order = np.argsort(-deviations, kind="stable")[:PAIR_COUNT]
    return [
        FieldPair((fields[firsts[pair]].name, fields[seconds[pair]].name), float(deviations[pair]), float(means[pair]))
        for pair in order
    ]


def _blocks(rows, field_count):
    """Yield rows in blocks of which all products of vectors are in memory at once."""
    size = max(MOST_PRODUCTS // field_count**2, 1)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _weights(sample, rows):
    """Return the weights of rows, float64, 0 for padding."""
    weights = 1.0 if sample.weights is None else sample.weights[rows].astype(np.float64)
    return (sample.labels[rows] != PADDING_LABEL) * weights


def _field_vectors(sparse_vectors, dense_embedding, sample, rows, fields):
    """Return the vectors of fields, float64 [b, fields, D].  sparse_vectors: float32 [b, S, D]."""
    vectors = np.zeros((len(rows), len(fields), sparse_vectors.shape[2]))
    for number, field in enumerate(fields):
        if field.sparse_index is not None:
            vectors[:, number] += sparse_vectors[:, field.sparse_index]
        if field.dense_index is not None:
            vectors[:, number] += (
                sample.dense_values[rows, field.dense_index, None] * dense_embedding[field.dense_index]
            )
    return vectors


def _terms(vectors):
    """Return the products of all pairs i < j of vectors, [b, pairs]."""
    firsts, seconds = np.triu_indices(vectors.shape[1], 1)
    return (vectors @ vectors.transpose(0, 2, 1))[:, firsts, seconds]


def _moments(terms, weights):
    """Return the weight of a block of rows, the means of its terms, and the sums of their squared deviations.

    The result is float32 [1 + 2 * pairs].
    """
    weight = weights.sum()
    means = weights @ terms / (weight or 1)
    return np.concatenate([[weight], means, weights @ (terms - means) ** 2]).astype(np.float32)


def _combine(moments):
    """Return the means and the standard deviations of the terms of all blocks, float64 [pairs] each.

    moments: [blocks, 1 + 2 * pairs].
    Source: Chan, Golub & LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician 1983; the
    sums of squares themselves would cancel in float32, in which ranks exchange numbers.
    """
    weights, means, squares = np.split(moments.astype(np.float64), [1, 1 + moments.shape[1] // 2], axis=1)
    total = weights.sum() or 1
    mean = (weights * means).sum(axis=0) / total
    return mean, np.sqrt((squares + weights * (means - mean) ** 2).sum(axis=0) / total)
