# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and model.json, which says what they are: eval and export rebuild the network from it, not from flags."""

import dataclasses
import json
import os
import pathlib

import mindspore as ms

from src.dataset_meta import file_sha256
from src.deepfm import DeepFM, DeepFMConfig
from src.errors import UserError

MODEL_NAME = "model.json"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class DataIdentity:
    """What of the data a network is bound to: the meaning of each id and of each dense value."""

    vocabulary_sha256: str
    sparse_fields: tuple
    dense_fields: tuple
    dense_encoding: str
    dense_scales: tuple

    @classmethod
    def of_dataset(cls, meta):
        """Take it from a DatasetMeta."""
        return cls(**{field.name: _as_tuple(getattr(meta, field.name)) for field in dataclasses.fields(cls)})


@dataclasses.dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint file; valid: its scores on the valid split by name, empty if that was not scored."""

    file: str
    sha256: str
    epoch: int
    step: int
    valid: dict


class ModelFolder:
    """A folder of checkpoints of one run, with its model.json."""

    def __init__(self, path, network, data, checkpoints=()):
        self.path = pathlib.Path(path)
        self.network, self.data, self.checkpoints = network, data, tuple(checkpoints)

    @classmethod
    def create(cls, path, network, data, overwrite=False):
        """Start a new run in `path`; the checkpoints of an earlier one are an error, or removed if `overwrite`."""
        folder = cls(path, network, data)
        folder.path.mkdir(parents=True, exist_ok=True)
        earlier = [*folder.path.glob(MODEL_NAME), *folder.path.glob("deepfm-*.ckpt")]
        if earlier and not overwrite:
            raise UserError(
                f"{path} holds the checkpoints of an earlier run; choose another --ckpt_path, "
                "or replace them with --overwrite=True"
            )
        for file in earlier:
            file.unlink()
        return folder

    @classmethod
    def load(cls, path):
        """Read model.json in the folder `path`."""
        model_path = pathlib.Path(path, MODEL_NAME)
        try:
            content = json.loads(model_path.read_text(encoding="utf-8"))
            if content["format_version"] != FORMAT_VERSION:
                raise UserError(f"{model_path}: written by another version of train.py; train again")
            network = DeepFMConfig(**_with_tuples(content["network"]))
            data = DataIdentity(**_with_tuples(content["data"]))
            return cls(path, network, data, [SavedCheckpoint(**saved) for saved in content["checkpoints"]])
        except FileNotFoundError:
            raise UserError(f"{model_path} is missing; it is written beside the checkpoints by train.py") from None
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(f"{model_path} is damaged ({error!r})") from error

    @property
    def best(self):
        """The checkpoint of the lowest log loss on valid; where that was not scored, the last one."""
        return min(self.checkpoints, key=lambda saved: (saved.valid.get("log_loss", 0.0), -saved.epoch, -saved.step))

    def save(self, train_step, epoch, step, valid):
        """Write all parameters of `train_step`, those of the optimizer too, and the new model.json; return the path."""
        path = self.path / f"deepfm-{epoch}_{step}.ckpt"
        ms.save_checkpoint(train_step, str(path))
        self.checkpoints += (SavedCheckpoint(path.name, file_sha256(path), epoch, step, valid),)
        self._write()
        return path

    def check_data(self, meta, dataset_path):
        """Raise UserError unless the network was trained on data encoded as that of this DatasetMeta."""
        theirs = DataIdentity.of_dataset(meta)
        different = [
            field.name
            for field in dataclasses.fields(theirs)
            if getattr(theirs, field.name) != getattr(self.data, field.name)
        ]
        if different or meta.vocabulary_size != self.network.vocabulary_size:
            raise UserError(
                f"{self.path} was trained on other data than {dataset_path}: "
                f"{', '.join(different) or 'vocabulary_size'} differ; use the MindRecord folder it was trained on"
            )

    def load_network(self, saved):
        """Return the DeepFM with the weights of a SavedCheckpoint."""
        path = self.path / saved.file
        if not path.is_file():
            raise UserError(f"{path} is missing")
        if file_sha256(path) != saved.sha256:
            raise UserError(
                f"{path} is damaged or cut off: its SHA-256 is not the one in {MODEL_NAME}; use another checkpoint"
            )
        network = DeepFM(self.network)
        _load_weights(network, path)
        return network

    def _write(self):
        content = {
            "format_version": FORMAT_VERSION,
            "network": dataclasses.asdict(self.network),
            "data": dataclasses.asdict(self.data),
            "best": self.best.file,
            "checkpoints": [dataclasses.asdict(saved) for saved in self.checkpoints],
        }
        beside = self.path / f"{MODEL_NAME}.tmp"
        with open(beside, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path / MODEL_NAME)


def find_checkpoint(path):
    """Return the ModelFolder and the SavedCheckpoint that `path` means: a .ckpt file, or a folder: its best one."""
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"--checkpoint_path={path}: no such file or folder")
    folder = ModelFolder.load(path if path.is_dir() else path.parent)
    if path.is_dir():
        if not folder.checkpoints:
            raise UserError(f"{path} holds no checkpoint")
        return folder, folder.best
    for saved in folder.checkpoints:
        if saved.file == path.name:
            return folder, saved
    raise UserError(f"{path} is not one of the checkpoints that {folder.path / MODEL_NAME} lists")


def _load_weights(network, path):
    """Load every parameter of `network`, or raise UserError."""
    weights = ms.load_checkpoint(str(path))
    wrong = [
        f"{name} {parameter.shape}"
        for name, parameter in network.parameters_dict().items()
        if name not in weights or weights[name].shape != parameter.shape
    ]
    if wrong:
        raise UserError(
            f"{path} does not hold the network of {MODEL_NAME}; missing or of another size: {', '.join(wrong)}"
        )
    ms.load_param_into_net(network, {name: weights[name] for name in network.parameters_dict()}, strict_load=True)


def _with_tuples(content):
    return {key: _as_tuple(value) for key, value in content.items()}


def _as_tuple(value):
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value
