# SPDX-License-Identifier: Apache-2.0
"""Adam, with a learning rate for each step of a block, which the host starts with one call."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from src.checkpoint import UNSAVED_PREFIX
from src.network.tables import is_table


class Adam(nn.Adam):
    """Adam whose `learning_rate` is, in each step, that which set_learning_rates() has given it.

    Between single steps the host sets the rate, as MindSpore's own callbacks can.  In a block of several steps the
    graph takes the rate that belongs to global_step, as the host cannot act between them.
    """

    def __init__(
        self,
        parameters: list[Parameter],
        learning_rate: float,
        eps: float,
        block_size: int = 1,
        table_factor: float = 1.0,
    ):
        """block_size: the steps of a block.  table_factor: of the learning rate, for the embedding tables."""
        super().__init__(parameters, learning_rate=learning_rate, eps=eps)
        self.block_size = block_size
        if table_factor != 1:
            self.is_group_lr = True  # for nn.Adam: get_lr() returns a tuple
            self.factors = tuple(table_factor if is_table(parameter.name) else 1.0 for parameter in self.parameters)
        if block_size > 1:
            rates = Tensor(np.full(block_size, learning_rate, np.float32))
            self.block_rates = Parameter(rates, name=f"{UNSAVED_PREFIX}learning_rates", requires_grad=False)
            self.block_start = Parameter(Tensor(0, ms.int32), name=f"{UNSAVED_PREFIX}start", requires_grad=False)
        self._latest: tuple[float, ...] = ()

    def set_learning_rates(self, learning_rates: Sequence[float], start: int) -> None:
        """Set the learning rates of the steps of the next block.

        start: global_step before the block; it matters if the block has several steps.
        """
        if self.block_size > 1:
            self.block_start.set_data(Tensor(start, ms.int32))
        if tuple(learning_rates) == self._latest:
            return
        self._latest = tuple(learning_rates)
        if self.block_size > 1:
            self.block_rates.set_data(Tensor(np.array(learning_rates, np.float32)))
        else:
            (learning_rate,) = learning_rates
            self.learning_rate.set_data(Tensor(learning_rate, ms.float32))

    def get_lr(self) -> Tensor | tuple[Tensor, ...]:
        """Return the learning rate of the step, or that of each parameter.

        nn.Adam calls this in the graph, before it increases global_step.
        """
        rate = self._learning_rate()
        if not self.is_group_lr:
            return rate
        return tuple([rate * factor for factor in self.factors])

    def _learning_rate(self):
        if self.block_size == 1:
            return self.learning_rate
        chosen = ops.gather(self.block_rates, self.global_step - self.block_start, 0)  # [1]
        return ops.depend(self.learning_rate, ops.assign(self.learning_rate, chosen.reshape(())))
