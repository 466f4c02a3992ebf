# SPDX-License-Identifier: Apache-2.0
"""Statistics of each value of the sparse fields, as inputs of the network: the log-odds of a click, and the count.

Of a value in n rows of the training set, s of them with a click, with the click rate p of all rows,

    log_odds = ln((s + A p) / (n - s + A (1 - p))) - ln(p / (1 - p))     A = SMOOTHING
    log_count = ln(1 + n)

A row of the training set does not count itself: the rows are in FOLDS folds, by a hash of their position, and a row's
statistics are of the rows in the other folds; n is then FOLDS / (FOLDS - 1) times the number of those in log_count.
Rows that the network is to predict have the statistics of the complete training set.  A value outside the vocabulary,
or one that no row of the other folds has, has n = s = 0.

log_odds is divided by its standard deviation over the rows of the training set, of each field; log_count is
standardised by its mean and deviation.  Both are limited to LIMIT.

Source: Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes", SIGKDD Explorations 2001,
with cross-fitting.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import mindspore.dataset as ds
import numpy as np

from src.common.encoded_rows import NO_VALUE
from src.common.errors import UserError
from src.common.progress import Progress
from src.common.records import LABEL, SPARSE_IDS
from src.common.splitmix import splitmix64
from src.dataset import RowsOfRecords, open_records
from src.dataset_meta import PADDING_LABEL, DatasetMeta
from src.distributed.process_group import ProcessGroup

FOLDS = 5
FOLD_SEED = 0
SMOOTHING = 20.0
LIMIT = 4.0
ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class ValueStatistics:
    """log_odds and log_count of each id: of_others of the rows outside a fold, float32 [FOLDS, V, 2]; of_all [V, 2]."""

    of_others: np.ndarray
    of_all: np.ndarray


def fold_of_rows(positions: np.ndarray) -> np.ndarray:
    """Return the folds of rows, int32 [n], by their positions in the training split, int64 [n]."""
    return (splitmix64(FOLD_SEED, positions.astype(np.uint64)) % np.uint64(FOLDS)).astype(np.int32)


def learn_statistics(data: DatasetMeta, ranks: ProcessGroup) -> ValueStatistics:
    """Read the training split once and return the statistics of all values.  Collective: the ranks divide the rows.

    Raises UserError for data without a vocabulary, in which an id may stand for values of several fields.
    """
    if data.settings["skip_id_convert"]:
        raise UserError("--value_statistics=True needs a vocabulary; preprocess without --skip_id_convert")
    counts = np.zeros((FOLDS, data.vocabulary_size, 2), np.int32)
    field_of_id = np.zeros(data.vocabulary_size, np.int32)
    fields = _field_of_column(data)
    for sparse_ids, labels, folds in _rows_of_rank(data, ranks):
        count_rows(counts, sparse_ids, labels, folds)
        field_of_id[sparse_ids.clip(0)] = np.where(sparse_ids == NO_VALUE, 0, fields)
    if ranks.count > 1:
        counts = np.stack([_sum_over(ranks, fold.ravel()).reshape(fold.shape) for fold in counts])
        field_of_id = ranks.gather(field_of_id).reshape(ranks.count, -1).max(axis=0)
    field_of_id[: len(data.sparse_fields)] = np.arange(len(data.sparse_fields))  # the ids outside the vocabulary
    train = data.splits["train"]
    return compute_statistics(counts, field_of_id, len(data.sparse_fields), train.positives / train.rows)


def count_rows(counts: np.ndarray, sparse_ids: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> None:
    """Add rows to counts, int32 [FOLDS, V, 2]: of each id the rows that have it, and those of them with a click.

    sparse_ids: int32 [n, I].  labels: [n].  folds: int32 [n].  A row with an id twice counts twice.
    """
    vocabulary_size = counts.shape[1]
    positions = folds[:, None].astype(np.int64) * vocabulary_size + sparse_ids
    is_value = sparse_ids != NO_VALUE
    flat = counts.reshape(-1, 2)
    np.add.at(flat[:, 0], positions[is_value], 1)
    np.add.at(flat[:, 1], positions[is_value & (labels == 1)[:, None]], 1)


def compute_statistics(
    counts: np.ndarray, field_of_id: np.ndarray, field_count: int, click_rate: float
) -> ValueStatistics:
    """Return the statistics of all ids.

    counts: of count_rows.  field_of_id: int32 [V]; the first field_count ids, one of each field, are those of values
    outside the vocabulary.  click_rate: of all rows.
    """
    own = counts.astype(np.float64)
    total = own.sum(axis=0)  # [V, 2]
    others = total - own  # [FOLDS, V, 2]
    others[:, :field_count] = total[:field_count] = 0
    of_others = np.stack([_log_odds(others, click_rate), np.log1p(others[..., 0] * FOLDS / (FOLDS - 1))], axis=2)
    of_all = np.stack([_log_odds(total, click_rate), np.log1p(total[..., 0])], axis=1)
    center, divisor = _scales(of_others, own[..., 0], field_of_id, field_count)
    scaled = ((each - center) / divisor for each in (of_others, of_all))
    return ValueStatistics(*(each.clip(-LIMIT, LIMIT).astype(np.float32) for each in scaled))


def _log_odds(counts, click_rate):
    """Return the log-odds of a click, less that of all rows.  counts: rows and those with a click, [..., 2]."""
    clicks = counts[..., 1] + SMOOTHING * click_rate
    others = counts[..., 0] - counts[..., 1] + SMOOTHING * (1 - click_rate)
    return np.log(clicks / others) - np.log(click_rate / (1 - click_rate))


def _scales(statistics, rows, field_of_id, field_count):
    """Return the center and the divisor of each id's statistics, [V, 2].

    statistics: [FOLDS, V, 2].  rows: that have them, [FOLDS, V].
    """

    def of_fields(values):
        return np.stack([np.bincount(field_of_id, each, field_count) for each in values.T], axis=1)  # [F, 2]

    row_counts = np.maximum(np.bincount(field_of_id, rows.sum(axis=0), field_count), 1)[:, None]
    mean = of_fields((statistics * rows[..., None]).sum(axis=0)) / row_counts
    deviations = statistics - mean[field_of_id]
    divisor = np.sqrt(of_fields((deviations**2 * rows[..., None]).sum(axis=0)) / row_counts)
    center = mean * [0, 1]  # the log-odds of the average row are 0 already
    return center[field_of_id], np.where(divisor > 0, divisor, 1)[field_of_id]


def _rows_of_rank(data: DatasetMeta, ranks: ProcessGroup) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield ids, labels and folds of the rows that a rank counts, without padding."""
    size, records = data.rows_per_record, data.splits["train"].records
    start, end = (records * rank // ranks.count for rank in (ranks.rank, ranks.rank + 1))
    if start == end:
        return
    rows = RowsOfRecords(data)
    records_at_once = max(ROWS_AT_ONCE // size, 1)
    sampler = ds.SequentialSampler(start, end - start)
    batches = open_records(data, "train", records_at_once, shuffle=None, sampler=sampler)
    progress = Progress("statistics", (end - start) * size, "rows", leave=False, disable=ranks.rank > 0)
    position = start * size
    for records_read in batches.create_tuple_iterator(num_epochs=1, output_numpy=True):
        columns = dict(zip(rows.names, rows(*records_read)))
        labels = columns[LABEL].ravel()
        folds = fold_of_rows(np.arange(position, position + len(labels)))
        is_real = labels != PADDING_LABEL
        yield columns[SPARSE_IDS][is_real], labels[is_real], folds[is_real]
        position += len(labels)
        progress.advance(len(labels))
    progress.close()


def _field_of_column(data):
    """Return the number of the field of each column of sparse_ids, int32 [I]."""
    single = len(data.single_fields)
    lengths = [1] * single + list(data.list_lengths.values())
    return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)


def _sum_over(ranks, numbers):
    return ranks.gather(numbers).reshape(ranks.count, -1).sum(axis=0)
