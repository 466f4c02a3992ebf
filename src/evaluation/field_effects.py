# SPDX-License-Identifier: Apache-2.0
"""The effects of fields on the predictions of a network for a split: permutation importance and strongest FM pairs."""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
from mindspore import Tensor, nn

from src.common.progress import Progress
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.field_pairs import FieldPair, strongest_pairs
from src.evaluation.field_sample import FieldSample, input_fields
from src.evaluation.importance import FieldImportance, permutation_importance
from src.evaluation.recalibration import Recalibration

MANY_FIELDS = 40  # with more fields there are fewer rows, so that there are not more predictions


@dataclasses.dataclass(frozen=True)
class FieldEffects:
    """The effects of fields on the predictions for the first row_count rows of a split, of all ranks.

    importance: of each field, the most important first.  pairs: the strongest ones, the strongest first.
    """

    row_count: int
    importance: list[FieldImportance]
    pairs: list[FieldPair]


class FieldVectors(nn.Cell):
    """Maps sparse_ids int32 [B, I] to the vectors of the sparse fields, float32 [B, S, D]; letters as in src.deepfm."""

    def __init__(self, network: DeepFM):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, sparse_ids: Tensor) -> Tensor:
        _, vectors = self.network.rows_of(sparse_ids)
        return vectors


def rows_to_sample(data: DatasetMeta, most_rows: int) -> int:
    """Return the number of rows on which the effects of all fields are measured.

    most_rows: those of data with at most MANY_FIELDS fields; 0: none.
    """
    return -(-most_rows * MANY_FIELDS // max(len(input_fields(data)), MANY_FIELDS))


def measure_fields(
    predictor: DeepFMPredict,
    sample: FieldSample | None,
    data: DatasetMeta,
    ranks: ProcessGroup,
    *,
    recalibration: Recalibration | None = None,
) -> FieldEffects | None:
    """Return the effects of the fields on the predictions for a sample; None without one.  Collective.

    recalibration: applied to the probabilities.
    """
    if sample is None:
        return None
    network, fields = predictor.network, input_fields(data)
    batch_count = -(-sample.row_count * (1 + len(fields)) // sample.batch_rows)
    progress = Progress("importance", batch_count, "batches", leave=False, disable=not ranks.is_first)

    def predict(*inputs: np.ndarray) -> np.ndarray:
        progress.advance(1)
        return predictor(*map(Tensor, inputs)).asnumpy().ravel()

    vectors = FieldVectors(network)
    with _prediction_mode(predictor), contextlib.closing(progress):
        importance = permutation_importance(predict, sample, fields, ranks, recalibration)
        dense_embedding = network.dense_embedding.asnumpy() if network.has_dense_fields else None
        pairs = strongest_pairs(lambda ids: vectors(Tensor(ids)).asnumpy(), dense_embedding, sample, fields, ranks)
    row_count = int(ranks.gather(np.array([len(sample.real_rows)], np.int32)).sum())
    return FieldEffects(row_count, importance, pairs)


@contextlib.contextmanager
def _prediction_mode(predictor: DeepFMPredict) -> Iterator[None]:
    """Let the network predict, without dropout, for a `with` block."""
    was_training = predictor.network.training
    predictor.set_train(False)
    try:
        yield
    finally:
        predictor.network.set_train(was_training)
