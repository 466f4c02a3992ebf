# SPDX-License-Identifier: Apache-2.0
"""The model package: a folder with all that scoring raw rows needs.

package.json        sizes, encoding, recalibration, metrics, versions, and size and digest of every other file
model.onnx          raw values to probability; with model.onnx.data if the parameters are large
model.mindir        encoded rows to probability, before recalibration; absent if the parameters are large
vocabulary.tsv      the id of each value
golden_rows.tsv     generated raw rows, golden_scores.csv: their scores, which every program compares with its own
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from src.common.errors import UserError
from src.common.files import file_sha256, write_json
from src.common.memory_estimate import NetworkSizes
from src.data_identity import DIGEST_KEY, DataIdentity
from src.dataset_meta import VOCABULARY_NAME, as_tuple
from src.evaluation.metrics import metrics_for_json
from src.evaluation.recalibration import Recalibration
from src.package.parameters import StoredParameter, parameter_shapes
from src.package.raw_encoding import RawEncoding

MANIFEST_NAME = "package.json"
ONNX_NAME, MINDIR_NAME = "model.onnx", "model.mindir"
ONNX_DATA_NAME = f"{ONNX_NAME}.data"  # of a network with large tables
GOLDEN_ROWS_NAME, GOLDEN_SCORES_NAME = "golden_rows.tsv", "golden_scores.csv"
REQUIRED_FILES = (ONNX_NAME, VOCABULARY_NAME, GOLDEN_ROWS_NAME, GOLDEN_SCORES_NAME)
FORMAT_VERSION = 1
MINDIR_BATCH_ROWS = 1000


@dataclasses.dataclass(frozen=True)
class PackagedFile:
    """A file of a package."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: pathlib.Path) -> "PackagedFile":
        return cls(path.stat().st_size, file_sha256(path))


@dataclasses.dataclass(frozen=True)
class Package:
    """A model package.

    recalibration: None if none was fitted.  metrics: of the splits "valid", before the recalibration, as training has
    measured it, and "test", after it, as eval.py has; None for one that was not evaluated.
    versions: of the software that wrote it, by name.  parameters: of the network, by name.
    """

    path: pathlib.Path
    network: NetworkSizes
    encoding: RawEncoding
    recalibration: Recalibration | None
    metrics: dict[str, dict[str, Any] | None]
    versions: dict[str, str]
    parameters: dict[str, StoredParameter]
    files: dict[str, PackagedFile]

    def save(self) -> None:
        """Write package.json."""
        identity = self.encoding.identity
        content = {
            "format_version": FORMAT_VERSION,
            "network": dataclasses.asdict(self.network),
            "data": identity.to_dict(),
            DIGEST_KEY: identity.digest(),
            **self.encoding.to_dict(),
            "recalibration": self.recalibration.to_dict() if self.recalibration else None,
            "metrics": {split: metrics_for_json(metrics) for split, metrics in self.metrics.items()},
            "versions": self.versions,
            "mindir_batch_rows": MINDIR_BATCH_ROWS,
            "parameters": {name: dataclasses.asdict(place) for name, place in self.parameters.items()},
            "files": {name: dataclasses.asdict(file) for name, file in self.files.items()},
        }
        write_json(self.path / MANIFEST_NAME, content)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Package":
        """Read package.json and check every file that it lists; UserError unless all are as they were written."""
        path = pathlib.Path(folder)
        content = _read_manifest(path / MANIFEST_NAME)
        try:
            package = cls._from_content(path, content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise _damaged(path / MANIFEST_NAME, repr(error)) from error
        package.check_files()
        package.check_parameters()
        package.encoding.check_vocabulary()
        return package

    @classmethod
    def _from_content(cls, path, content):
        identity = DataIdentity(**{key: as_tuple(value) for key, value in content["data"].items()})
        if identity.digest() != content[DIGEST_KEY]:
            raise _damaged(path / MANIFEST_NAME, f"data and {DIGEST_KEY} differ")
        network = NetworkSizes(**{key: as_tuple(value) for key, value in content["network"].items()})
        _check_sizes(network, identity)
        knots = content["recalibration"]
        return cls(
            path,
            network,
            RawEncoding.from_dict(content, identity, path / VOCABULARY_NAME),
            Recalibration.from_dict(knots, str(path / MANIFEST_NAME)) if knots is not None else None,
            content["metrics"],
            content["versions"],
            {name: StoredParameter.from_dict(place) for name, place in content["parameters"].items()},
            {name: PackagedFile(**file) for name, file in content["files"].items()},
        )

    def check_files(self) -> None:
        """Raise UserError unless all files are in the folder itself, with their sizes and digests."""
        if missing := [name for name in REQUIRED_FILES if name not in self.files]:
            raise _damaged(self.path / MANIFEST_NAME, f"it does not list {missing[0]}")
        if ONNX_DATA_NAME not in self.files and os.path.lexists(self.path / ONNX_DATA_NAME):
            raise _damaged(self.path / MANIFEST_NAME, f"it does not list {ONNX_DATA_NAME}, which the folder holds")
        for name, listed in self.files.items():
            path = self.path / name
            if pathlib.PurePath(name).name != name or name in ("", "..", MANIFEST_NAME) or path.is_symlink():
                raise _damaged(self.path / MANIFEST_NAME, f"{name!r} is not a file in the folder itself")
            if not path.is_file():
                raise UserError(f"{path} is missing; copy the package again")
            if path.stat().st_size != listed.bytes:
                raise UserError(f"{path} has {path.stat().st_size} bytes, not {listed.bytes}; copy the package again")
            if file_sha256(path) != listed.sha256:
                raise UserError(f"{path} is not of this package: its SHA-256 is another one; copy it again")

    def check_parameters(self) -> None:
        """Raise UserError unless every parameter of the network has its shape, and a place within a listed file."""
        manifest = self.path / MANIFEST_NAME
        for name, shape in parameter_shapes(self.network).items():
            if name not in self.parameters:
                raise _damaged(manifest, f"it does not list the parameter {name}")
            if (found := self.parameters[name].shape) != shape:
                raise _damaged(manifest, f"the parameter {name} has the shape {found}, not {shape}")
        for name, place in self.parameters.items():
            if place.file not in self.files:
                raise _damaged(manifest, f"the parameter {name} is in {place.file!r}, which is not a listed file")
            if place.end > self.files[place.file].bytes:
                raise _damaged(manifest, f"the parameter {name} ends behind the end of {place.file}")

    def check_identity(self, name: str, metadata: dict[str, str]) -> None:
        """Raise UserError if the metadata of a model file name other data than package.json."""
        if metadata.get(DIGEST_KEY) != self.encoding.identity.digest():
            raise UserError(f"{self.path / name} is a model of other data than {MANIFEST_NAME}; export it again")


def _check_sizes(network, identity):
    """Raise ValueError unless the sizes of a network are positive integers, and those of its data."""
    sizes = (network.vocabulary_size, network.sparse_field_count, network.dense_field_count)
    if sizes != (identity.vocabulary_size, len(identity.sparse_fields), len(identity.dense_fields)):
        raise ValueError("the network has other sizes than the data")
    if network.list_lengths != tuple(identity.list_lengths.values()):
        raise ValueError("the network and the data have different multi-valued fields")
    widths = (network.embedding_size, *network.hidden_sizes)
    if not all(type(width) is int and width > 0 for width in widths):
        raise ValueError(f"the sizes of embedding and hidden layers are {widths}, which are not all positive integers")


def _read_manifest(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} holds no {MANIFEST_NAME}; export.py --file_format=PACKAGE writes one") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{error}") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}; this program reads up to {FORMAT_VERSION}: use a newer version of it"
        )
    if type(version) is not int or version != FORMAT_VERSION:
        raise _damaged(path, "it has no valid format_version")
    return content


def _damaged(path, reason):
    return UserError(f"{path} is damaged: {reason}; copy the package again")
