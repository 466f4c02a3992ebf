# SPDX-License-Identifier: Apache-2.0
"""The parts of a logit: bias, first order by field, pairs of fields, MLP and recalibration, in float64.

    logit = bias + first order of each field + the strongest pairs + other pairs + MLP + recalibration

added in this order, from left to right.  Fields are the dense values, then the sparse ids.
"""

import dataclasses
import functools
import operator
from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from src.common.encoded_rows import NO_VALUE, batches_of
from src.data_identity import DataIdentity
from src.evaluation.metrics import PROBABILITY_FLOOR
from src.evaluation.recalibration import Recalibration
from src.package.package import Package
from src.package.parameters import parameter_shapes

PAIR_COUNT = 5  # of the strongest pairs that are listed
BATCH_ROWS = 512  # whose products of all pairs of fields, float64 [rows, F, F], are in memory at once
LARGEST_LOGIT = float(np.log(1 - PROBABILITY_FLOOR) - np.log(PROBABILITY_FLOOR))  # that a recalibration is given


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The parts of the logits of n rows, float64, and the names of the F fields.

    A column that gives a dense value and a bucket is two fields, such as "I1" and "I1 bucket".
    first_order: [n, F].  pairs: indices of the K pairs of fields with the largest products of vectors, by magnitude,
    int [n, K, 2].  pair_values: those products, [n, K].  other_pairs: the sum of all others, [n].  mlp: [n], zeros
    without hidden layers.  recalibration: what it adds to the logit of the network, [n], zeros without one.
    """

    fields: tuple[str, ...]
    bias: float
    first_order: np.ndarray
    pairs: np.ndarray
    pair_values: np.ndarray
    other_pairs: np.ndarray
    mlp: np.ndarray
    recalibration: np.ndarray

    @property
    def logits(self) -> np.ndarray:
        """The sum of the parts, from left to right, [n]."""
        return functools.reduce(operator.add, self._parts())

    @property
    def probabilities(self) -> np.ndarray:
        """The click probabilities, [n]; those of the model, in float32, are within 1e-6 of them.

        A recalibration with a slope below 1 magnifies the rounding of a network's probability that is close to 1.
        """
        with np.errstate(over="ignore"):  # exp of more than 709 is infinite, and the probability then 0
            return 1 / (1 + np.exp(-self.logits))

    def to_frame(self) -> pl.DataFrame:
        """Return the parts as a frame with a row for each row.

        Its columns: bias, first_order_<field>, pair_<k> (text, such as "C3 * C14") and pair_<k>_value, other_pairs,
        mlp, recalibration, logit.
        """
        columns = [pl.Series("bias", np.full(len(self.mlp), self.bias))]
        columns += [pl.Series(f"first_order_{name}", self.first_order[:, at]) for at, name in enumerate(self.fields)]
        for rank in range(self.pairs.shape[1]):
            columns.append(pl.Series(f"pair_{rank + 1}", self._pair_names(rank), pl.String))
            columns.append(pl.Series(f"pair_{rank + 1}_value", self.pair_values[:, rank]))
        last = {name: getattr(self, name) for name in ("other_pairs", "mlp", "recalibration")}
        return pl.DataFrame([*columns, *(pl.Series(*item) for item in {**last, "logit": self.logits}.items())])

    def _parts(self) -> Iterator[np.ndarray]:
        yield np.full(len(self.mlp), self.bias)
        yield from self.first_order.T
        yield from self.pair_values.T
        yield from (self.other_pairs, self.mlp, self.recalibration)

    def _pair_names(self, rank: int) -> list[str]:
        return [f"{self.fields[first]} * {self.fields[second]}" for first, second in self.pairs[:, rank].tolist()]


class Explainer:
    """Explains encoded rows with the parameters of a folded network, float32 arrays by name."""

    def __init__(
        self, parameters: Mapping[str, np.ndarray], identity: DataIdentity, recalibration: Recalibration | None
    ):
        self.parameters, self.recalibration = parameters, recalibration
        self._fields, self._list_lengths = field_names(identity), tuple(identity.list_lengths.values())

    @classmethod
    def of_package(cls, package: Package) -> "Explainer":
        """Take the parameters from the files of a package, of which only the rows that are needed get into memory."""
        parameters = {}
        for name, shape in parameter_shapes(package.network).items():
            place = package.parameters[name]
            parameters[name] = np.memmap(package.path / place.file, "<f4", "r", place.offset, shape)
        return cls(parameters, package.encoding.identity, package.recalibration)

    def __call__(self, sparse_ids: np.ndarray, dense_values: np.ndarray) -> Explanation:
        """Explain rows.  sparse_ids: int32 [n, I].  dense_values: float32 [n, N]."""
        columns = [sparse_ids, dense_values]
        parts = [self._explain(*batch) for batch in batches_of(columns, BATCH_ROWS)] or [self._explain(*columns)]
        first_order, pairs, pair_values, other_pairs, mlp = map(np.concatenate, zip(*parts))
        bias = float(self.parameters["bias"][0])
        network = Explanation(
            self._fields, bias, first_order, pairs, pair_values, other_pairs, mlp, np.zeros(len(sparse_ids))
        )
        if self.recalibration is None:
            return network
        logits = network.logits
        targets = self.recalibration.map_logits(np.clip(logits, -LARGEST_LOGIT, LARGEST_LOGIT))
        return dataclasses.replace(network, recalibration=targets - logits)

    def _explain(self, sparse_ids, dense_values):
        """Return first_order, pairs, pair_values, other_pairs and mlp of a batch."""
        values = dense_values.astype(np.float64)
        sparse_vectors = self.parameters["embedding"][sparse_ids].astype(np.float64)  # [n, I, D]
        folded = self.parameters["folded_linear"][sparse_ids][:, :, 0].astype(np.float64)
        first_order = folded + (sparse_vectors**2).sum(2) / 2  # [n, I]
        if self._list_lengths:
            fractions = _fractions(sparse_ids, self._list_lengths)
            sparse_vectors = fractions @ sparse_vectors  # [n, S, D]
            first_order = (fractions @ first_order[:, :, None])[:, :, 0]
        statistics = self._statistics(sparse_ids)
        if statistics is not None:
            weights = self._in_float64["statistic_weight"].reshape(-1, 2)
            first_order = first_order + (statistics * weights).sum(2)
        vectors = sparse_vectors
        if values.shape[1]:
            first_order = np.hstack([values * self._in_float64["dense_linear"][:, 0], first_order])
            dense_vectors = values[:, :, None] * self._in_float64["dense_embedding"]
            vectors = np.concatenate([dense_vectors, sparse_vectors], axis=1)
        return (first_order, *_strongest_pairs(vectors), self._mlp(sparse_vectors, values, statistics))

    def _statistics(self, sparse_ids):
        """Return the statistics of each sparse field, float64 [n, S, 2]; None for a network without."""
        if "statistics" not in self.parameters:
            return None
        statistics = self.parameters["statistics"][sparse_ids].astype(np.float64)
        return _fractions(sparse_ids, self._list_lengths) @ statistics if self._list_lengths else statistics

    def _mlp(self, sparse_vectors, values, statistics):
        """Return the output of the MLP, [n]."""
        layers = self._in_float64
        if "deep.first.weight" not in layers:
            return np.zeros(len(values))
        inputs = sparse_vectors.reshape(len(values), layers["deep.first.weight"].shape[1])
        hidden = inputs @ layers["deep.first.weight"].T + layers["deep.first.bias"]
        if values.shape[1]:
            hidden += values @ layers["projection"]
        if statistics is not None:
            weight = layers["deep.statistic_weight"]
            hidden += statistics.reshape(len(values), len(weight)) @ weight
        layer = 0
        while (name := f"deep.rest.{layer}.weight") in layers:
            hidden = hidden.clip(0) @ layers[name].T + layers[f"deep.rest.{layer}.bias"]
            layer += 1
        return hidden[:, 0]

    @functools.cached_property
    def _in_float64(self):
        """All parameters but those with a row for each id."""
        tables = ("folded_linear", "embedding", "statistics")
        return {name: value.astype(np.float64) for name, value in self.parameters.items() if name not in tables}


def field_names(identity: DataIdentity) -> tuple[str, ...]:
    """Return the names of the fields of a network, of the dense ones first."""
    dense = identity.dense_fields
    return (*dense, *(f"{name} bucket" if name in dense else name for name in identity.sparse_fields))


def _fractions(sparse_ids, list_lengths):
    """Return the fraction of a field's mean that each column of ids is, float64 [n, S, I]."""
    single = sparse_ids.shape[1] - sum(list_lengths)
    fractions = np.zeros((len(sparse_ids), single + len(list_lengths), sparse_ids.shape[1]))
    fractions[:, range(single), range(single)] = 1
    start = single
    for field, length in enumerate(list_lengths, single):
        block = slice(start, start + length)
        is_value = sparse_ids[:, block] != NO_VALUE
        fractions[:, field, block] = is_value / np.maximum(is_value.sum(axis=1, keepdims=True), 1)
        start += length
    return fractions


def _strongest_pairs(vectors):
    """Return the pairs of fields with the largest products, the products, and the sum of all others.

    vectors: float64 [n, F, D].  The results are [n, K, 2], [n, K] and [n].
    """
    rows = np.arange(len(vectors))[:, None]
    first, second = np.triu_indices(vectors.shape[1], 1)
    products = (vectors @ vectors.transpose(0, 2, 1))[:, first, second]  # [n, F * (F - 1) / 2]
    count = min(PAIR_COUNT, len(first))
    largest = np.argpartition(np.abs(products), len(first) - count, axis=1)[:, -count:] if count else rows[:, :0]
    order = np.argsort(-np.abs(products[rows, largest]), axis=1)
    strongest = np.take_along_axis(largest, order, axis=1)
    values = products[rows, strongest]
    products[rows, strongest] = 0
    return np.stack([first[strongest], second[strongest]], axis=2), values, products.sum(1)
