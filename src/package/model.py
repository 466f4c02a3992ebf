# SPDX-License-Identifier: Apache-2.0
"""A trained model that scores raw rows."""

import importlib.util
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import polars as pl

from src.common.encoded_rows import check_rows
from src.common.errors import UserError
from src.common.files import file_sha256, listed_paths
from src.package.explanation import Explainer, Explanation
from src.package.few_rows import FEW_ROWS, read_columns, score_columns
from src.package.golden import check_golden_scores
from src.package.many_rows import ManyRowsNetwork, is_possible
from src.package.package import MANIFEST_NAME, MINDIR_BATCH_ROWS, MINDIR_NAME, ONNX_NAME, Package
from src.package.raw_encoding import RawEncoding
from src.package.rows import Rows, read_frame, read_lines
from src.package.runtime import MindIRNetwork, Network, OnnxNetwork, choose_runtime


class ClickModel:
    """Raw rows in, click probabilities out.

    encoder: from raw columns to encoded rows.  network: from those to probabilities.  explainer: from those to the
    parts of a logit; None for a model that only predicts.  digest: SHA-256 of all that the probabilities depend on.
    """

    def __init__(self, encoding: RawEncoding, network: Network, explainer: Explainer | None = None, digest: str = ""):
        self.encoding, self.network, self.explainer, self.digest = encoding, network, explainer, digest
        self.encoder = encoding.encoder()

    def predict(self, rows: Rows) -> np.ndarray:
        """Return the click probability of each row, float32 [n].

        rows: lines of raw rows, text or bytes, with or without a label; or a pandas or polars data frame with the
        columns I1, I2, ... and C1, C2, ... (see read_frame).  Unseen categories are OOV.
        Raises BadRowsError, which names the rows, for malformed ones, and UserError for columns of other types.
        """
        if isinstance(self.network, OnnxNetwork) and _are_lines(rows) and 0 < len(rows) <= FEW_ROWS:
            schema = self.encoder.schema
            return score_columns(self.network, read_columns(rows, schema), self.encoder)
        return self.score(self.read(rows))

    def prepare_for_many_rows(self) -> None:
        """Compute the first hidden layer once for each value, if the network allows it (see many_rows.py).

        Many rows then take a third of the time, in each thread; the table takes memory, at most 1 GiB.
        """
        if self.explainer is not None and is_possible(self.explainer.parameters, self.encoder):
            self.network = ManyRowsNetwork(self.explainer.parameters, self.encoder, self.explainer.recalibration)

    def explain(self, rows: Rows) -> Explanation:
        """Return the parts of the logit of each row; rows and errors: as of predict."""
        if self.explainer is None:
            raise ValueError("this model has no explainer; load_model gives it one")
        return self.explainer(*self.encode(self.read(rows)))

    def read(self, rows: Rows) -> pl.DataFrame:
        """Return rows as raw columns, as predict takes them."""
        if _is_frame(rows):
            return read_frame(rows, self.encoder.schema)
        if _are_lines(rows):
            return read_lines(rows, self.encoder.schema)
        raise UserError(
            f"rows are of the type {type(rows).__name__}; expected is a list of lines, or a pandas or polars DataFrame"
        )

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        """Return the click probability of each row of raw columns, float32 [n]."""
        return self.network(*self.encode(frame))

    def encode(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of raw columns."""
        sparse_ids, dense_values = self.encoder.encode(frame)
        identity = self.encoding.identity
        check_rows(
            sparse_ids,
            dense_values,
            vocabulary_size=identity.vocabulary_size,
            source="the rows",
            list_width=identity.list_width,
        )
        return sparse_ids, dense_values


def _is_frame(rows):
    return not isinstance(rows, pl.LazyFrame) and hasattr(rows, "columns")


def _are_lines(rows):
    """Tell whether rows are given one by one; one text is not."""
    is_one = isinstance(rows, (str, bytes, bytearray, Mapping)) or _is_frame(rows)
    return isinstance(rows, Collection) and not is_one


def load_model(path: str | os.PathLike, threads: int = 0, *, many_rows: bool = False) -> ClickModel:
    """Return the model of a package, or of a checkpoint: a .ckpt file, or a folder for its best one.

    Several paths of checkpoints, with commas between them, give the mean of their logits.

    threads: of onnxruntime in one call, 0 for all cores.  many_rows: prepare it for many rows, in one thread a call.
    Raises UserError if the package is damaged, if its golden rows are not scored as they were at the export, or if
    nothing here can run it.  A checkpoint needs MindSpore.
    """
    for each in listed_paths(os.fspath(path)):
        if not os.path.exists(each):
            raise UserError(f"{each}: no such model; expected is a package or a folder of checkpoints")
    path = pathlib.Path(path)
    if (path / MANIFEST_NAME).exists() or (path / ONNX_NAME).exists():
        return load_package(Package.load(path), threads, many_rows=many_rows)
    if not importlib.util.find_spec("mindspore"):
        raise UserError(f"{path} holds no {MANIFEST_NAME}, and a checkpoint needs MindSpore; export it as a package")
    from src.package.checkpoint_network import load_checkpoint  # here, as it imports MindSpore

    model = ClickModel(*load_checkpoint(os.fspath(path)))
    if many_rows:
        model.prepare_for_many_rows()
    return model


def load_package(package: Package, threads: int = 0, *, many_rows: bool = False) -> ClickModel:
    """Return the model of a package, after it has scored the golden rows."""
    digest = file_sha256(package.path / MANIFEST_NAME)
    network = _load_network(package, threads)
    model = ClickModel(package.encoding, network, Explainer.of_package(package), digest)
    if many_rows:
        model.prepare_for_many_rows()
    check_golden_scores(package, lambda rows: _score_in_all_ways(model, rows))
    return model


def _score_in_all_ways(model: ClickModel, lines: list[bytes]) -> Iterator[np.ndarray]:
    """Yield the probabilities of a few lines from raw values, from encoded rows, and from the parts of the logits."""
    yield model.predict(lines)
    encoded = model.encode(model.read(lines))
    yield model.network(*encoded)
    if model.explainer is not None:
        yield model.explainer(*encoded).probabilities


def _load_network(package, threads):
    if choose_runtime() == "onnxruntime":
        network = OnnxNetwork(package.path / ONNX_NAME, threads)
        package.check_identity(ONNX_NAME, network.metadata)
        return network
    if MINDIR_NAME not in package.files:
        raise UserError(
            f"{package.path} holds no {MINDIR_NAME}, as the model is large; pip install onnxruntime to use it"
        )
    return MindIRNetwork(package.path / MINDIR_NAME, MINDIR_BATCH_ROWS, package.recalibration)
