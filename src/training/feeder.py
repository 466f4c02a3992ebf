# SPDX-License-Identifier: Apache-2.0
"""Feeders: they give the steps their batches, in blocks of steps between which the host can act."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mindspore import DatasetHelper, Tensor, connect_network_with_dataset, nn
from mindspore.dataset import Dataset


@dataclass(frozen=True)
class Block:
    """Steps that the host starts together.

    run: executes them and returns the loss of the last one.  batch: the columns of the batch, if the host has it and
    it is the only one.
    """

    run: Callable[[], Tensor]
    batch: Sequence[Tensor] | None = None


class Feeder(contextlib.AbstractContextManager):
    """Feeds a train step with the batches of a dataset; as a context manager it gives back what it holds."""

    def __init__(self, train_step: nn.Cell, dataset: Dataset, step: int, epochs: int, block_size: int):
        """step: the number of batches to pass over, a multiple of block_size.  epochs: passes, those included."""
        self._train_step, self._block_size = train_step, block_size
        dataset.set_init_step(step)

    def blocks(self, count: int) -> Iterator[Block]:
        """Return the next `count` blocks, which end an epoch."""
        raise NotImplementedError


class IteratorFeeder(Feeder):
    """Feeds batches from the host, one by one, as a CPU needs it."""

    def __init__(self, train_step: nn.Cell, dataset: Dataset, step: int, epochs: int, block_size: int):
        super().__init__(train_step, dataset, step, epochs, block_size)
        self._batches = dataset.create_tuple_iterator(num_epochs=epochs)

    def __exit__(self, *error):
        """Nothing is held."""

    def blocks(self, count: int) -> Iterator[Block]:
        while batches := list(itertools.islice(self._batches, self._block_size)):
            yield Block(functools.partial(self._run, batches), batches[0] if self._block_size == 1 else None)

    def _run(self, batches):
        for batch in batches:
            loss = self._train_step(*batch)
        return loss


class SinkFeeder(Feeder):
    """Lets an Ascend or a GPU take batches from a queue that MindSpore fills ahead of the steps (data sinking).

    It does so as mindspore.train.Model does.  The dataset belongs to the train step from then on.
    """

    def __init__(self, train_step: nn.Cell, dataset: Dataset, step: int, epochs: int, block_size: int):
        super().__init__(train_step, dataset, step, epochs, block_size)
        self._helper = DatasetHelper(dataset, dataset_sink_mode=True, sink_size=block_size, epoch_num=epochs)
        self._connected: nn.Cell | None = None

    def __exit__(self, *error):
        self._helper.stop_send()
        self._helper.release()

    def blocks(self, count: int) -> Iterator[Block]:
        return itertools.repeat(Block(self._run), count)

    def _run(self):
        # Before each block, as it also takes the shapes of its batch from a queue of 128: full, that stops the sender.
        connected = connect_network_with_dataset(self._train_step, self._helper)
        if connected is not self._connected:
            self._connected = connected.set_train()
        for inputs in self._helper:  # once, and without inputs
            loss = connected(*inputs)
        return loss


def choose_feeder(device_target: str) -> type[Feeder]:
    """Return the feeder for a kind of device."""
    return IteratorFeeder if device_target == "CPU" else SinkFeeder
