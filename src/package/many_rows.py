# SPDX-License-Identifier: Apache-2.0
"""Many rows in a fraction of the time: the first hidden layer is computed once for each value of the vocabulary.

Up to the first ReLU the network is a sum over the values of a row.  A table has for value v of field f

    [W_f e_v + U_f z_v, e_v, w_v - |e_v|^2 / 2 + u_f z_v]

that is what it adds to the first hidden layer, [H], its vector, [D], and its first order without the square that the
second order takes off.  W_f is the block of the first layer for field f, z_v are the statistics of v, if the network
has them, with the weights U_f and u_f; the values of the first field also have the biases.  So a row costs the sum of
S rows of the table, S * (H + D + 1) additions, instead of S * D * H products.  Letters as in src.deepfm.
"""

import contextlib
import importlib.util
from collections.abc import Mapping

import numpy as np

from src.common.encoded_rows import batches_of
from src.common.memory_estimate import FLOAT_BYTES
from src.evaluation.recalibration import Recalibration
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.vocabulary import FIELD, ID

LARGEST_TABLE_BYTES = 1 << 30
BATCH_ROWS = 4000  # fewer make threads wait for each other's Python, more do not stay in the cache
VALUES_AT_ONCE = 1 << 16  # of the table, as it is computed


class ManyRowsNetwork:
    """From sparse_ids int32 [n, S] and dense_values float32 [n, N] to click probabilities float32 [n].

    They are those of the network to 1e-6.  Several threads may call it, in `one_blas_thread`.
    parameters: of a folded network for which `is_possible`, float32 arrays by name.
    """

    def __init__(
        self, parameters: Mapping[str, np.ndarray], encoder: FeatureEncoder, recalibration: Recalibration | None
    ):
        from scipy.sparse import csr_array  # here, as a server does without it

        self._csr_array, self._recalibration = csr_array, recalibration
        self._hidden_size, _ = _widths(parameters)
        self._table = _value_table(parameters, _ids_by_field(encoder))
        if "dense_linear" in parameters:
            names = ("projection", "dense_embedding", "dense_linear")
            self._dense_table = np.hstack([parameters[name] for name in names])  # [N, H + D + 1]
            self._square_weights = np.array(parameters["dense_squares"][:, 0])
        self._layers: list[tuple[np.ndarray, np.ndarray]] = []
        while (name := f"deep.rest.{len(self._layers)}.weight") in parameters:
            bias = parameters[name.replace("weight", "bias")]
            self._layers.append((np.ascontiguousarray(parameters[name].T), np.array(bias)))

    def __call__(self, sparse_ids: np.ndarray, dense_values: np.ndarray) -> np.ndarray:
        batches = batches_of([sparse_ids, dense_values], BATCH_ROWS)
        logits = np.concatenate([np.empty(0, np.float32), *(self._logits(*batch) for batch in batches)])
        with np.errstate(over="ignore"):  # exp of more than 88 is infinite, and the probability then 0
            probabilities = 1 / (1 + np.exp(-logits))
        return self._recalibration.apply(probabilities) if self._recalibration else probabilities

    def _logits(self, sparse_ids, dense_values):
        sums = self._sum_of_values(sparse_ids)
        if dense_values.shape[1]:
            sums += dense_values @ self._dense_table
            sums[:, -1] += (dense_values * dense_values) @ self._square_weights
        vector = sums[:, self._hidden_size : -1]
        hidden = sums[:, : self._hidden_size]
        for weight, bias in self._layers:
            hidden = np.maximum(hidden, 0, out=hidden) @ weight
            hidden += bias
        return sums[:, -1] + np.einsum("nd,nd->n", vector, vector) / 2 + hidden[:, 0]

    def _sum_of_values(self, sparse_ids):
        """Return the sum of the rows of the table, float32 [n, H + D + 1], for ids int32 [n, S]."""
        row_count, width = sparse_ids.shape
        starts = np.arange(0, sparse_ids.size + 1, width, dtype=np.int32)
        ones = np.ones(sparse_ids.size, np.float32)
        shape = (row_count, len(self._table))
        return self._csr_array((ones, sparse_ids.ravel(), starts), shape=shape) @ self._table


def is_possible(parameters: Mapping[str, np.ndarray], encoder: FeatureEncoder) -> bool:
    """Tell whether a network can be a ManyRowsNetwork, with a table that is not too large, and scipy is installed.

    One with multi-valued fields cannot, as the square of a mean is not the mean of the squares, nor can one whose
    categories are ids, as several fields may share one.
    """
    schema = encoder.schema
    if "deep.first.weight" not in parameters or schema.list_names or schema.categories_are_ids:
        return False
    if not encoder.sparse_names or not importlib.util.find_spec("scipy"):
        return False
    return len(parameters["embedding"]) * (sum(_widths(parameters)) + 1) * FLOAT_BYTES <= LARGEST_TABLE_BYTES


def one_blas_thread() -> contextlib.AbstractContextManager:
    """Let numpy multiply in the thread that calls it: several that score would wait for the threads of each other."""
    if not importlib.util.find_spec("threadpoolctl"):
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def _widths(parameters):
    """Return H and D."""
    return len(parameters["deep.first.weight"]), parameters["embedding"].shape[1]


def _ids_by_field(encoder):
    """Return the ids of each sparse field, in the order of the fields."""
    tables = encoder.vocabulary.table.partition_by(FIELD, as_dict=True)
    return [tables[name,][ID].to_numpy() for name in encoder.sparse_names]


def _value_table(parameters, ids_by_field):
    table = np.zeros((len(parameters["embedding"]), sum(_widths(parameters)) + 1), np.float32)
    for field, ids in enumerate(ids_by_field):
        for (part,) in batches_of([ids], VALUES_AT_ONCE):
            table[part] = _rows_of_values(parameters, field, part)
    table[ids_by_field[0]] += _biases(parameters)  # a row has one value of each field
    return table


def _rows_of_values(parameters, field, ids):
    """Return what values of a field add, without biases, float32 [ids, H + D + 1]."""
    hidden_size, embedding_size = _widths(parameters)
    weight = parameters["deep.first.weight"][:, field * embedding_size : (field + 1) * embedding_size].T
    vectors = parameters["embedding"][ids]
    rows = np.hstack([vectors @ weight, vectors, parameters["folded_linear"][ids]])
    if "statistics" in parameters:
        statistics, of_field = parameters["statistics"][ids], slice(2 * field, 2 * field + 2)
        rows[:, :hidden_size] += statistics @ parameters["deep.statistic_weight"][of_field]
        rows[:, -1:] += statistics @ parameters["statistic_weight"][of_field]
    return rows


def _biases(parameters):
    """Return the bias of each column of the table, [H + D + 1]."""
    _, embedding_size = _widths(parameters)
    no_bias = np.zeros(embedding_size, np.float32)
    return np.concatenate([parameters["deep.first.bias"], no_bias, parameters["bias"]])
