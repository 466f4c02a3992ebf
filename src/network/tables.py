# SPDX-License-Identifier: Apache-2.0
"""The tables with a row for each id, `linear` [V, 1] and `embedding` [V, D]: whole on each rank, or cut into parts.

Each rank owns one part of each cut table, with its gradient and its moments.  `linear` is cut by rows and `embedding`
by columns.  A rank looks up its part for the rows of all ranks, and an exchange gives every rank the complete vectors
of its own rows: exactly those of a whole table.  The gradient takes the same way back, to the owners.
"""

import dataclasses

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Normal, initializer

from src.common.errors import ConfigError
from src.distributed.process_group import ProcessGroup

EMBEDDING_DEVIATION = 0.01
CUT_AXES = {"linear": 0, "embedding": 1}  # of a table, by its name


@dataclasses.dataclass(frozen=True)
class Part:
    """Number `index` of the `count` parts of each table; the only one of a whole table.

    All parts of a table have the same shape, so that all ranks execute the same graph: rows and columns that the
    table does not have are 0 and stay so.
    """

    index: int = 0
    count: int = 1

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    def shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of this part of a table.  shape: that of the whole table."""
        axis = cut_axis(name)
        return tuple(self._length(size) if at == axis else size for at, size in enumerate(shape))

    def indices(self, name: str, shape: tuple[int, ...]) -> range:
        """Return the rows or columns of the whole table that are in this part.  shape: that of the whole table."""
        size = shape[cut_axis(name)]
        length = self._length(size)
        return range(min(self.index * length, size), min((self.index + 1) * length, size))

    def _length(self, size):
        return -(-size // self.count)


WHOLE = Part()


def is_table(name: str) -> bool:
    """Tell whether a parameter is a table, or has the shape of one, as its moments and EMA weights have."""
    return _table_name(name) in CUT_AXES


def cut_axis(name: str) -> int:
    """Return the axis along which a table is cut.  name: as is_table() knows it."""
    return CUT_AXES[_table_name(name)]


def table_shape(name: str, row_count: int, width: int) -> tuple[int, int]:
    """Return the shape of a whole table.  name: as is_table() knows it.  row_count: V.  width: D."""
    return row_count, 1 if _table_name(name) == "linear" else width


def _table_name(name):
    return name.rpartition(".")[2]  # without "moment1." or "average."


def copy_part(
    name: str, shape: tuple[int, ...], source: np.ndarray, source_part: Part, target: np.ndarray, target_part: Part
) -> None:
    """Copy to a part of a table what another part holds of it.  shape: that of the whole table."""
    held, wanted = source_part.indices(name, shape), target_part.indices(name, shape)
    start, stop = max(held.start, wanted.start), min(held.stop, wanted.stop)
    if start < stop:
        axis = cut_axis(name)
        moved = np.moveaxis(source, axis, 0)[start - held.start : stop - held.start]
        np.moveaxis(target, axis, 0)[start - wanted.start : stop - wanted.start] = moved


def create_table(name: str, shape: tuple[int, ...], part: Part) -> Parameter:
    """Return a part of a new table, whose numbers are those of the whole one.  shape: that of the whole table."""
    numbers = initializer(Normal(EMBEDDING_DEVIATION), shape)
    if part.is_whole:
        return Parameter(numbers, name=name)
    # MindSpore's generator has no way to begin in the middle, so each rank draws the whole table and keeps its part.
    own = np.zeros(part.shape(name, shape), np.float32)
    copy_part(name, shape, numbers.init_data().asnumpy(), WHOLE, own, part)
    return Parameter(Tensor.from_numpy(own), name=name, layerwise_parallel=True)  # so no rank gets that of another


def create_look_up(row_count: int, width: int, part: Part, target: str) -> nn.Cell:
    """Return the look-up in tables of that size: from linear, embedding, and sparse_ids int32 [B, S], to their rows.

    The result is float32 [B, S, 1] and [B, S, D].  target: the device, "CPU", "GPU" or "Ascend".
    """
    return LookUp() if part.is_whole else PartLookUp(row_count, width, part, target)


class LookUp(nn.Cell):
    """Looks up rows of whole tables."""

    def __init__(self):
        super().__init__()
        self.gather = ops.Gather()

    def construct(self, linear: Parameter, embedding: Parameter, sparse_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.gather(linear, sparse_ids, 0), self.gather(embedding, sparse_ids, 0)


class PartLookUp(nn.Cell):
    """Looks up rows of cut tables.  All ranks must do so at once, with batches of one size.

    The gradients of the parts are those of the mean loss of all ranks, without any reduction.
    """

    def __init__(self, row_count: int, width: int, part: Part, target: str):
        """row_count: V.  width: D.  target: the device, "CPU", "GPU" or "Ascend"."""
        super().__init__()
        self.part_count, self.width = part.count, width
        self.own_rows, _ = part.shape("linear", (row_count, 1))
        _, self.own_columns = part.shape("embedding", (row_count, width))
        self.first_row = part.index * self.own_rows
        self.gather = ops.Gather()
        self.all_gather = ops.AllGather()
        self.exchange = Exchange(part, target)
        self.at_least, self.less, self.both = ops.GreaterEqual(), ops.Less(), ops.LogicalAnd()
        self.cast = ops.Cast()
        self.reshape = ops.Reshape()
        self.transpose = ops.Transpose()
        self.slice = ops.Slice()
        self.sum = ops.ReduceSum()

    def construct(self, linear: Parameter, embedding: Parameter, sparse_ids: Tensor) -> tuple[Tensor, Tensor]:
        ids = self.all_gather(sparse_ids)  # [n * B, S], those of each rank
        blocks = (self.part_count, *sparse_ids.shape)  # n, B, S
        return self._weights(linear, ids, blocks), self._embeddings(embedding, ids, blocks)

    def _weights(self, linear, ids, blocks):
        rows = ids - self.first_row
        is_own = self.both(self.at_least(rows, 0), self.less(rows, self.own_rows))
        weights = self.gather(linear, rows * self.cast(is_own, ms.int32), 0)  # [n * B, S, 1]
        weights = self.reshape(weights, (*blocks, 1)) * self.reshape(self.cast(is_own, ms.float32), (*blocks, 1))
        return self.sum(self.exchange(weights), 0)  # of the n weights of an id one is not 0

    def _embeddings(self, embedding, ids, blocks):
        count, rows, fields = blocks
        vectors = self.reshape(self.gather(embedding, ids, 0), (*blocks, self.own_columns))
        vectors = self.transpose(self.exchange(vectors), (1, 2, 0, 3))  # [B, S, n, columns of a part]
        vectors = self.reshape(vectors, (rows, fields, count * self.own_columns))
        if count * self.own_columns > self.width:
            vectors = self.slice(vectors, (0, 0, 0), (rows, fields, self.width))
        return vectors


class Exchange(nn.Cell):
    """Sends block r of [n, ...] to rank r; block r of the result comes from rank r.

    That is AlltoAll, which MindSpore has for Ascend alone.  Elsewhere, in each of n - 1 rounds, every rank gives one
    block to an AllGather: that for the rank which is so many ranks ahead.  The gradient goes back in the same way.
    Each rank's loss is the mean over its own rows, so gradients are divided by n, for the mean over all.
    """

    def __init__(self, part: Part, target: str):
        """target: the device, "CPU", "GPU" or "Ascend"."""
        super().__init__()
        self.rank, self.count = part.index, part.count
        self.has_all_to_all = target == "Ascend"
        if self.has_all_to_all:
            self.all_to_all = ops.AlltoAll(part.count, 0, 0)
        self.all_gather = ops.AllGather()
        self.split = ops.Split(0, part.count)
        self.concat = ops.Concat(0)

    def construct(self, blocks: Tensor) -> Tensor:
        return self._exchange(blocks)

    def bprop(self, blocks: Tensor, result: Tensor, gradient: Tensor) -> tuple[Tensor]:
        """Return the gradient of the blocks; MindSpore calls this."""
        return (self._exchange(gradient) * (1 / self.count),)

    def _exchange(self, blocks):
        if self.has_all_to_all:
            return self.all_to_all(blocks)
        own = self.split(blocks)  # [1, ...] each
        received = [own[self.rank]]  # the k-th one comes from the rank that is k ranks behind
        for distance in range(1, self.count):
            sent = own[(self.rank + distance) % self.count]
            received.append(self.split(self.all_gather(sent))[(self.rank - distance) % self.count])
        return self.concat([received[(self.rank - source) % self.count] for source in range(self.count)])


def table_owners(ranks: ProcessGroup, embedding_size: int, *, shard_embedding: bool) -> ProcessGroup:
    """Return the ranks that own the tables together: all, or each rank alone, without parts.

    ConfigError if the embedding has fewer columns than there are ranks.
    """
    if not shard_embedding:
        return ProcessGroup()
    if ranks.count == 1:
        print("note: --shard_embedding=True: there is one process, so it holds the whole tables")
    if ranks.count > embedding_size:
        raise ConfigError(
            f"--shard_embedding=True: {ranks.count} processes cannot divide the columns of --embedding_size="
            f"{embedding_size}; use no more processes than columns"
        )
    return ranks
