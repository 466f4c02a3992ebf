# SPDX-License-Identifier: Apache-2.0
"""The network of a model package, run by onnxruntime or by MindSpore, whichever is installed."""

import importlib.util
import os
import pathlib
import threading
from collections.abc import Callable

import numpy as np

from src.common.encoded_rows import batches_of, pad_batch
from src.common.errors import UserError
from src.evaluation.recalibration import Recalibration

PROBABILITY = "probability"  # the output of model.onnx
SPARSE_IDS, DENSE_VALUES = "sparse_ids", "dense_values"
ONNX_BATCH_ROWS = 2000  # of one call: more of them take as much time per row, and more memory
ERRORS_ONLY = 3  # the exporter states a wrong shape of an output, as is known
TYPES = {"tensor(string)": object, "tensor(int64)": np.int64, "tensor(double)": np.float64}
# From sparse_ids int32 [n, S] and dense_values float32 [n, N], N may be 0, to click probabilities float32 [n].  Several
# threads may call it.
Network = Callable[[np.ndarray, np.ndarray], np.ndarray]


def choose_runtime() -> str:
    """Return the name of the module that runs models here; UserError if none is installed."""
    for module in ("onnxruntime", "mindspore"):
        if importlib.util.find_spec(module):
            return module
    raise UserError("a model needs onnxruntime or MindSpore; pip install onnxruntime")


class OnnxNetwork:
    """model.onnx, to which rows are given encoded.  threads: those of one call, 0 for all cores; calls may overlap."""

    def __init__(self, path: pathlib.Path, threads: int = 0):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.intra_op_num_threads = threads
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception of its own for each kind of damage, without a base
            raise UserError(f"{path}: onnxruntime refuses it: {error}") from error
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        self._no_raw_rows = {
            column.name: np.empty((0, column.shape[1]), TYPES[column.type]) for column in self.session.get_inputs()
        }
        self._takes_dense_values = DENSE_VALUES in {each.name for each in self.session.get_overridable_initializers()}

    def __call__(self, sparse_ids: np.ndarray, dense_values: np.ndarray) -> np.ndarray:
        batches = batches_of([sparse_ids, dense_values], ONNX_BATCH_ROWS)
        return np.concatenate([np.empty(0, np.float32), *(self._predict(*batch) for batch in batches)])

    def _predict(self, sparse_ids, dense_values):
        inputs = {**self._no_raw_rows, SPARSE_IDS: sparse_ids}
        if self._takes_dense_values:
            inputs[DENSE_VALUES] = dense_values
        return self.session.run([PROBABILITY], inputs)[0].ravel()


class FixedBatches:
    """A network that takes batches of batch_rows rows, and the recalibration that it does not contain.

    run: from the columns of a batch to the probabilities [batch_rows, 1].  MindSpore compiles it anew for batches of
    another size, and fails if two threads run it at once: batches wait for each other.
    """

    def __init__(self, run: Callable[..., np.ndarray], batch_rows: int, recalibration: Recalibration | None):
        self._run, self._batch_rows, self._recalibration = run, batch_rows, recalibration
        self._lock = threading.Lock()

    def __call__(self, sparse_ids: np.ndarray, dense_values: np.ndarray) -> np.ndarray:
        columns = [sparse_ids, *([dense_values] if dense_values.shape[1] else [])]
        batches = batches_of(columns, self._batch_rows)
        probabilities = np.concatenate([np.empty(0, np.float32), *map(self._predict, batches)])
        return self._recalibration.apply(probabilities) if self._recalibration else probabilities

    def _predict(self, batch):
        with self._lock:
            return self._run(*pad_batch(batch, self._batch_rows))[: len(batch[0]), 0]


class MindIRNetwork(FixedBatches):
    """model.mindir, which takes batches of batch_rows rows, and the recalibration behind it."""

    def __init__(self, path: pathlib.Path, batch_rows: int, recalibration: Recalibration | None):
        import mindspore as ms
        from mindspore import nn

        from src.distributed.device import ensure_device

        ensure_device()
        try:
            graph = nn.GraphCell(ms.load(os.path.abspath(path)))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{path}: MindSpore refuses it: {error}") from error
        super().__init__(lambda *inputs: graph(*map(ms.Tensor, inputs)).asnumpy(), batch_rows, recalibration)
