# SPDX-License-Identifier: Apache-2.0
"""Feeders: they give the steps their batches, in blocks of steps between which the host can act."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mindspore import DatasetHelper, Tensor, connect_network_with_dataset, nn

from src.training.training_data import TrainingData


@dataclass(frozen=True)
class Block:
    """Steps that the host starts together.

    run: executes them and returns the loss of the last one.  batch: the columns of the batch, if the host has it and
    it is the only one.
    """

    run: Callable[[], Tensor]
    batch: Sequence[Tensor] | None = None


class Feeder(contextlib.AbstractContextManager):
    """Feeds a train step with the batches of a training; as a context manager it gives back what it holds."""

    def __init__(self, train_step: nn.Cell, train_data: TrainingData, step: int, epochs: int, block_size: int):
        """step: the number of steps that are done, of so many epochs."""
        steps = train_data.get_dataset_size()
        if step % block_size or steps % block_size:
            raise ValueError(f"blocks of {block_size} do not fit {steps} batches from {step} on")
        self._train_step, self._block_size = train_step, block_size
        self._dataset = train_data.from_step(step, epochs)

    def blocks(self, count: int) -> Iterator[Block]:
        """Yield the next `count` blocks."""
        raise NotImplementedError


class IteratorFeeder(Feeder):
    """Feeds batches from the host, one by one: a CPU has no queue."""

    def __init__(self, train_step: nn.Cell, train_data: TrainingData, step: int, epochs: int, block_size: int):
        super().__init__(train_step, train_data, step, epochs, block_size)
        self._batches = self._dataset.create_tuple_iterator(num_epochs=1)

    def __exit__(self, *error):
        """Nothing is held."""

    def blocks(self, count: int) -> Iterator[Block]:
        for _ in range(count):
            if self._block_size == 1:
                batch = next(self._batches)
                yield Block(functools.partial(self._train_step, *batch), batch)
            else:
                yield Block(self._run)

    def _run(self):
        for batch in itertools.islice(self._batches, self._block_size):
            loss = self._train_step(*batch)
        return loss


class SinkFeeder(Feeder):
    """Lets an Ascend or a GPU take batches from a queue that MindSpore fills ahead of the steps (data sinking).

    It does so as mindspore.train.Model does.
    """

    def __init__(self, train_step: nn.Cell, train_data: TrainingData, step: int, epochs: int, block_size: int):
        super().__init__(train_step, train_data, step, epochs, block_size)
        self._helper = DatasetHelper(self._dataset, dataset_sink_mode=True, sink_size=block_size, epoch_num=1)
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


def choose_feeder(device_target: str, sink_size: int) -> type[Feeder]:
    """Return the feeder for a kind of device.  sink_size: 0 for none that sinks data."""
    return IteratorFeeder if device_target == "CPU" or sink_size == 0 else SinkFeeder
