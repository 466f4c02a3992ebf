# SPDX-License-Identifier: Apache-2.0
"""Data sinking on a CPU: MindSpore's DatasetHelper and its sender run for real, the queue of the device is replaced.

MindSpore reads the dataset ahead and tells the shapes of the batches as on an Ascend.  A last operation of the dataset
puts the batches into the queue, from which each call of the connected network takes those of a block.
"""

import contextlib
import queue
import types

import mindspore.dataset as ds
import mindspore.train._utils
import mindspore.train.dataset_helper
import numpy as np
from mindspore import Tensor

CAPACITY = 8  # of the queues; that of shapes holds 128 on a device, that of batches 100
SECONDS = 20  # within which a batch or a shape must come


class Device:
    """What stands for the device: the queues of the last sender, and what was done to senders."""

    def __init__(self):
        self.events, self.blocks = [], []
        self._batches = self._shapes = None
        self._is_stopped = False

    def replace(self, monkeypatch):
        """Let MindSpore believe in a device."""
        helper = mindspore.train.dataset_helper
        context = types.SimpleNamespace(**{name: getattr(helper.context, name) for name in dir(helper.context)})
        get = helper.context.get_context
        context.get_context = lambda name: "Ascend" if name == "device_target" else get(name)
        monkeypatch.setattr(helper, "context", context)
        monkeypatch.setattr(mindspore.train._utils._cell_graph_executor, "init_dataset", self._init_queue)
        monkeypatch.setattr(helper, "_generate_dataset_sink_mode_net", self._connect)
        create = ds.Dataset.device_que
        monkeypatch.setattr(ds.Dataset, "device_que", lambda dataset, **more: create(self._tapped(dataset), **more))
        sender = ds.engine.datasets.TransferDataset
        monkeypatch.setattr(sender, "get_data_info", lambda transfer: self._take(self._shapes))
        for name in ("stop_send", "release"):
            self._note(monkeypatch, sender, name)

    def _note(self, monkeypatch, sender, name):
        method = getattr(sender, name)

        def noted(transfer):
            self._is_stopped = True
            self.events.append(name)
            method(transfer)

        monkeypatch.setattr(sender, name, noted)

    def _init_queue(self, queue_name, sink_size, batch_size, types, shapes, input_indexs, phase):
        """Note the number of steps that a call runs, which is what MindSpore tells the device here."""
        self.steps_per_call, self.types, self.shapes = sink_size, types, shapes
        self._has_shapes = sink_size == 1

    def _tapped(self, dataset):
        self._batches, self._shapes, self._is_stopped = queue.Queue(CAPACITY), queue.Queue(CAPACITY), False
        self._has_shapes = True
        return dataset.map(self._send, input_columns=dataset.get_col_names(), num_parallel_workers=1)

    def _send(self, *columns):
        batch = [np.array(column) for column in columns]
        self._put(self._batches, batch)
        if self._has_shapes:
            self._put(self._shapes, ([column.dtype for column in batch], [list(column.shape) for column in batch]))
        return columns

    def _put(self, channel, item):
        is_put = False
        while not is_put and not self._is_stopped:
            with contextlib.suppress(queue.Full):
                channel.put(item, timeout=0.05)
                is_put = True

    def _take(self, channel):
        return channel.get(timeout=SECONDS)

    def _connect(self, network, shapes, types, queue_name):
        return Connected(self, network)

    def run(self, network):
        """Run a block, as a call of the connected network does; return the loss of its last step."""
        for _ in range(self.steps_per_call):
            batch = self._take(self._batches)
            assert [list(column.shape) for column in batch] == self.shapes
            loss = network(*map(Tensor, batch))
        self.blocks.append(self.steps_per_call)
        return loss


class Connected:
    """The network that MindSpore makes of the train step: it takes no inputs, as its first operation is GetNext."""

    def __init__(self, device, network):
        self._device, self._network = device, network
        self.flags, self.is_training = {}, False

    def add_flags(self, **flags):
        self.flags |= flags

    def set_train(self):
        self.is_training = True
        self._network.set_train()
        return self

    def __call__(self):
        assert self.flags == {"sink_mode": True}
        assert self.is_training
        return self._device.run(self._network)
