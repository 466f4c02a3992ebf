# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and model.json, which says what they are: eval and export rebuild the network from it, not from flags."""

import contextlib
import dataclasses
import json
import pathlib

import mindspore as ms

from src.common.errors import UserError
from src.common.files import file_sha256, write_json
from src.common.mindspore_log import muted
from src.data_identity import DataIdentity, as_tuple
from src.deepfm import AVERAGE_PREFIX, DeepFM, DeepFMConfig

MODEL_NAME = "model.json"
CHECKPOINT_PATTERNS = ("deepfm-*.ckpt*", "deepfm-*.tmp")  # what MindSpore has only begun to write ends in .tmp
FORMAT_VERSION = 2
READ_ATTEMPTS = 5


@dataclasses.dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint file.

    valid: its scores on the valid split by name, empty if that was not scored.  state: what else it takes to go on
    from it, a dict for JSON.
    """

    file: str
    sha256: str
    epoch: int
    step: int
    valid: dict
    state: dict


class ModelFolder:
    """A folder of checkpoints of one run, with its model.json."""

    def __init__(self, path, network, data, checkpoints=(), keep=0):
        """keep: how many checkpoints may be there, the best one beside them; 0 for all."""
        self.path = pathlib.Path(path)
        self.network, self.data, self.checkpoints = network, data, tuple(checkpoints)
        self.keep = keep

    @classmethod
    def create(cls, path, network, data, overwrite=False, keep=0):
        """Start a new run in `path`; the checkpoints of an earlier one are an error, or removed if `overwrite`."""
        folder = cls(path, network, data, keep=keep)
        folder.path.mkdir(parents=True, exist_ok=True)
        earlier = [*folder.path.glob(MODEL_NAME), *folder._checkpoint_files()]
        if earlier and not overwrite:
            raise UserError(
                f"{path} holds the checkpoints of an earlier run; go on with it by --resume=True, choose another "
                "--ckpt_path, or replace them with --overwrite=True"
            )
        for file in earlier:
            file.unlink()
        return folder

    @staticmethod
    def exists(path):
        """Tell whether there is a model.json in the folder `path`."""
        return pathlib.Path(path, MODEL_NAME).exists()

    @classmethod
    def load(cls, path, keep=0):
        """Read model.json in the folder `path`."""
        model_path = pathlib.Path(path, MODEL_NAME)
        try:
            content = json.loads(model_path.read_text(encoding="utf-8"))
            if content["format_version"] != FORMAT_VERSION:
                raise UserError(f"{model_path}: written by another version of train.py; train again")
            network = DeepFMConfig(**_with_tuples(content["network"]))
            sizes = {"vocabulary_size": network.vocabulary_size}  # which older files say only there
            data = DataIdentity(**(sizes | _with_tuples(content["data"])))
            return cls(path, network, data, [SavedCheckpoint(**saved) for saved in content["checkpoints"]], keep)
        except FileNotFoundError:
            raise UserError(f"{model_path} is missing; it is written beside the checkpoints by train.py") from None
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(f"{model_path} is damaged ({error!r})") from error

    @property
    def best(self):
        """The first checkpoint of the lowest log loss on valid; if none was scored there, the last one."""
        scored = [saved for saved in self.checkpoints if saved.valid]
        return min(scored, key=lambda saved: saved.valid["log_loss"]) if scored else self.checkpoints[-1]

    def save(self, train_step, epoch, step, valid, state, is_validated=True):
        """Write all parameters of `train_step`, those of the optimizer too, and the new model.json.

        Of the earlier checkpoints as many are removed as must be, unless the new one is still to be validated.
        """
        path = self.path / f"deepfm-{epoch}_{step}.ckpt"
        others = [saved for saved in self.checkpoints if saved.file != path.name]
        _save_whole(train_step, path)
        checkpoints = (*others, SavedCheckpoint(path.name, file_sha256(path), epoch, step, valid, state))
        self._list(checkpoints, is_validated)

    def update_last(self, valid, state):
        """Note in model.json what validation has found of the last checkpoint; remove earlier ones as save() does."""
        *others, last = self.checkpoints
        self._list((*others, dataclasses.replace(last, valid=valid, state=state)), keep_some=True)

    def remove_last(self):
        """Remove the last checkpoint, of which validation has found that its weights are of no use."""
        if len(self.checkpoints) == 1:
            (self.path / MODEL_NAME).unlink()
        self._list(self.checkpoints[:-1])

    def last_whole(self):
        """Return the last checkpoint that is neither missing nor damaged; say so of those after it."""
        for saved in reversed(self.checkpoints):
            try:
                self.check_file(saved)
                return saved
            except UserError as error:
                print(f"note: {error}; going on from the one before it")
        raise UserError(f"{self.path} holds no checkpoint that is whole; --overwrite=True starts anew")

    def cut(self, saved):
        """Remove what came after a SavedCheckpoint."""
        self._list(self.checkpoints[: self.checkpoints.index(saved) + 1])

    def check_data(self, meta, dataset_path):
        """Raise UserError unless the network was trained on data encoded as that of this DatasetMeta."""
        different = self.data.differences(DataIdentity.of_dataset(meta))
        if different:
            raise UserError(
                f"{self.path} was trained on other data than {dataset_path}: {', '.join(different)} differ; "
                "use the MindRecord folder it was trained on"
            )

    def load_network(self, saved, dense_dtype=ms.float32):
        """Return the DeepFM with the weights of a SavedCheckpoint, the averaged ones if it has such."""
        self.check_file(saved)
        network = DeepFM(self.network, dense_dtype=dense_dtype)
        load_into(network, self.path / saved.file, averaged=True)
        return network

    def check_file(self, saved):
        """Raise UserError unless the file of a SavedCheckpoint is there and whole."""
        path = self.path / saved.file
        if not path.is_file():
            raise UserError(f"{path} is missing")
        if file_sha256(path) != saved.sha256:
            raise UserError(f"{path} is damaged or cut off: its SHA-256 is not the one in {MODEL_NAME}")

    def _list(self, checkpoints, keep_some=False):
        """Make these the checkpoints, or of them those to keep; if model.json cannot be written, nothing changes."""
        earlier, self.checkpoints = self.checkpoints, checkpoints
        if keep_some and self.keep:
            last = checkpoints[-self.keep :]
            self.checkpoints = tuple(saved for saved in checkpoints if saved in last or saved == self.best)
        if self.checkpoints:
            try:
                self._write()
            except OSError:
                self.checkpoints = earlier
                raise
        self._remove_unlisted()

    def _remove_unlisted(self):
        listed = {saved.file for saved in self.checkpoints}
        for file in self._checkpoint_files():
            if file.name not in listed:
                file.unlink()

    def _checkpoint_files(self):
        return {file for pattern in CHECKPOINT_PATTERNS for file in self.path.glob(pattern)}

    def _write(self):
        content = {
            "format_version": FORMAT_VERSION,
            "network": dataclasses.asdict(self.network),
            "data": dataclasses.asdict(self.data),
            "best": self.best.file,
            "checkpoints": [dataclasses.asdict(saved) for saved in self.checkpoints],
        }
        write_json(self.path / MODEL_NAME, content)


def find_checkpoint(path, flag="--checkpoint_path"):
    """Return the ModelFolder and the SavedCheckpoint that `path` means: a .ckpt file, or a folder: its best one."""
    for _ in range(READ_ATTEMPTS):
        folder, named = _find(path, flag)
        saved = named or folder.best
        if (folder.path / saved.file).is_file():
            break  # otherwise a training has just replaced it by a better one
    return folder, saved


def find_start(path):
    """Do as find_checkpoint, but for going on: a folder means the last of its checkpoints that is whole."""
    folder, named = _find(path, "--checkpoint_path")
    if named is None:
        return folder, folder.last_whole()
    folder.check_file(named)
    return folder, named


def _find(path, flag):
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"{flag}={path}: no such file or folder")
    folder = ModelFolder.load(path if path.is_dir() else path.parent)
    if not folder.checkpoints:
        raise UserError(f"{folder.path} holds no checkpoint")
    if path.is_dir():
        return folder, None
    for saved in folder.checkpoints:
        if saved.file == path.name:
            return folder, saved
    raise UserError(f"{path} is not one of the checkpoints that {folder.path / MODEL_NAME} lists")


def load_into(cell, path, averaged=False):
    """Load every parameter of `cell`, or raise UserError.  averaged: of averaged weights, if the file has such."""
    weights = ms.load_checkpoint(str(path))
    if averaged:
        averages = {name: weight for name, weight in weights.items() if name.startswith(AVERAGE_PREFIX)}
        weights.update((name.removeprefix(AVERAGE_PREFIX), weight) for name, weight in averages.items())
    wrong = [
        f"{name} {parameter.shape}"
        for name, parameter in cell.parameters_dict().items()
        if name not in weights or weights[name].shape != parameter.shape
    ]
    if wrong:
        raise UserError(
            f"{path} does not hold the network of {MODEL_NAME}; missing or of another size: {', '.join(wrong)}"
        )
    ms.load_param_into_net(cell, {name: weights[name] for name in cell.parameters_dict()}, strict_load=True)


def _save_whole(cell, path):
    """Write all parameters of a cell, whole or not at all; OSError names the file."""
    try:
        with muted("Failed to save the checkpoint file"):
            ms.save_checkpoint(cell, str(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            path.with_suffix(".tmp").unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def _with_tuples(content):
    return {key: as_tuple(value) for key, value in content.items()}
