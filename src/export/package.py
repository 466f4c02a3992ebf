# SPDX-License-Identifier: Apache-2.0
"""Write a model package, and prove that it scores rows as the checkpoint does."""

import importlib.metadata
import pathlib
import shutil
from typing import Any

import numpy as np

from src.checkpoint import Checkpoint
from src.common.errors import UserError
from src.common.memory_estimate import FLOAT_BYTES, NetworkSizes, parameter_count
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.deepfm import DeepFM, DeepFMPredict
from src.evaluation.recalibration import Recalibration
from src.export.formats import ExportOptions, export_model
from src.export.golden_rows import generate_golden_rows
from src.export.mindir import OLD_VERSION
from src.export.onnx_file import network_graph, save_onnx, tables_of
from src.export.parity import ParityRows, compare
from src.export.raw_onnx import build_raw_model
from src.package.checkpoint_network import as_network
from src.package.golden import save_golden_rows
from src.package.model import ClickModel, load_package
from src.package.package import (
    MINDIR_BATCH_ROWS,
    MINDIR_NAME,
    ONNX_DATA_NAME,
    ONNX_NAME,
    Package,
    PackagedFile,
)  # fmt: skip
from src.package.parameters import parameter_shapes
from src.package.raw_encoding import RAW_ROWS_NAME, RawEncoding

WRITERS = ("mindspore", "onnx", "numpy", "polars")  # the software whose versions are recorded
LARGE_BYTES = 1_000_000_000  # of parameters from which the tables have a file of their own, and MindIR is left out


def find_raw_encoding(checkpoint: Checkpoint, data: DatasetMeta | None) -> RawEncoding:
    """Return the encoding that the training has left with its checkpoints, or else that of the MindRecord folder."""
    folder = checkpoint.folder
    encoding = RawEncoding.load(folder.path, folder.data_identity)
    if encoding is None and data is not None:
        encoding = RawEncoding.of_dataset(data)
    if encoding is None:
        raise UserError(
            f"{folder.path} holds no {RAW_ROWS_NAME}, as it is of an older training; --dataset_path must name the "
            "MindRecord folder of its data"
        )
    return encoding


def write_package(
    folder: pathlib.Path,
    network: DeepFM,
    encoding: RawEncoding,
    recalibration: Recalibration | None,
    metrics: dict[str, Any],
) -> Package:
    """Write the package of a network, which is then folded, to an empty folder.  metrics: of valid and test."""
    identity = encoding.identity
    is_large = FLOAT_BYTES * parameter_count(network.config) >= LARGE_BYTES
    shutil.copyfile(encoding.vocabulary_path, folder / VOCABULARY_NAME)
    graph = build_raw_model(network_graph(network), encoding, recalibration)
    external = folder / ONNX_DATA_NAME if is_large else None
    stored = save_onnx(graph, tables_of(network), folder / ONNX_NAME, external)
    model = ClickModel(encoding, as_network(DeepFMPredict(network), recalibration))
    golden_rows = generate_golden_rows(model.encoder)
    save_golden_rows(folder, golden_rows, model.predict(golden_rows))
    if is_large:
        print(f"note: the package has no {MINDIR_NAME}, as the network has more than 1 GB of parameters")
    else:
        _write_mindir(folder / MINDIR_NAME, network, identity.to_metadata())
    sizes = NetworkSizes(
        identity.vocabulary_size,
        len(identity.sparse_fields),
        len(identity.dense_fields),
        network.config.embedding_size,
        tuple(network.config.hidden_sizes),
        tuple(network.config.list_lengths),
        network.config.has_statistics,
    )
    package = Package(
        path=folder,
        network=sizes,
        encoding=encoding,
        recalibration=recalibration,
        metrics=metrics,
        versions={name: importlib.metadata.version(name) for name in WRITERS},
        parameters={name: stored[name] for name in parameter_shapes(sizes)},
        files={path.name: PackagedFile.of(path) for path in sorted(folder.iterdir())},
    )
    package.save()
    return package


def _write_mindir(path: pathlib.Path, network: DeepFM, metadata: dict[str, str]) -> None:
    """Write the network as MindIR, folding it."""
    network.fold()
    export_model(DeepFMPredict(network), path, ExportOptions("MINDIR", MINDIR_BATCH_ROWS, OLD_VERSION), metadata)


def compare_package(package: Package, rows: ParityRows, expected: np.ndarray) -> str:
    """Load a package, let it predict ParityRows, and describe the difference from the expected probabilities, [n, 1].

    expected: of the checkpoint, recalibrated.  Raises UserError if a difference exceeds the tolerance.
    """
    sparse_ids, *others = rows.inputs
    dense_values = others[0] if others else np.empty((len(sparse_ids), 0), np.float32)
    found = load_package(Package.load(package.path)).network(sparse_ids, dense_values)
    return compare(found[:, None], expected, rows)
