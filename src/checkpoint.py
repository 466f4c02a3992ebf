# SPDX-License-Identifier: Apache-2.0
"""Checkpoints, and model.json that describes them: eval and export rebuild the network from it, not from flags."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from src.checkpoint_parts import PART_SUFFIX, PartFile, collect_tables, open_parts
from src.common.errors import UserError
from src.common.files import file_sha256, write_json
from src.common.mindspore_log import muted
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta, as_tuple
from src.deepfm import EMA_PREFIX, DeepFM, DeepFMConfig
from src.network.sums import PORTABLE
from src.network.tables import WHOLE, Part, is_table, table_shape

MODEL_NAME = "model.json"
# A file that MindSpore has only begun to write ends in .tmp.
CHECKPOINT_PATTERNS = ("deepfm-*.ckpt*", f"deepfm-*{PART_SUFFIX}*", "deepfm-*.tmp")
FORMAT_VERSION = 3
PARTS_VERSION = 4  # of a folder in which a checkpoint has parts, and all else is as in version 3
READABLE_VERSIONS = (2, 3, 4)  # version 2 has the training state in another form, and all else alike
RESUMABLE_VERSIONS = (FORMAT_VERSION, PARTS_VERSION)
READ_ATTEMPTS = 5
UNSAVED_PREFIX = "unsaved."  # of the names of parameters that no other run needs


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file that the model.json of its folder lists.

    step: within the epoch, from 1.  metrics: on the validation split, by name; empty if it was not evaluated there.
    state: all else that a resumed training needs, a dict for JSON.
    parts: the files with the parts of its tables, in the order of the parts; without any, the file has whole tables.
    """

    folder: "ModelFolder" = dataclasses.field(compare=False, repr=False)
    file: str
    sha256: str
    epoch: int
    step: int
    metrics: dict
    state: dict
    parts: tuple[PartFile, ...] = ()

    @property
    def path(self) -> pathlib.Path:
        return self.folder.path / self.file

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file by its name."""
        return {self.file: self.sha256} | {part.file: part.sha256 for part in self.parts}

    @property
    def identity(self) -> str:
        """The SHA-256 of the file; of a checkpoint in parts the SHA-256 of those of all files."""
        return hashlib.sha256(" ".join(self.digests.values()).encode()).hexdigest() if self.parts else self.sha256

    @classmethod
    def from_entry(cls, folder: "ModelFolder", entry: dict) -> "Checkpoint":
        """Take it from an entry of model.json, where the metrics are under the name of the split, `valid`."""
        values = {"metrics" if key == "valid" else key: value for key, value in entry.items()}
        parts = tuple(PartFile(**part) for part in values.pop("parts", []))
        return cls(folder, **values, parts=parts)

    def to_entry(self) -> dict:
        """Return the entry of model.json."""
        parts = {"parts": [dataclasses.asdict(part) for part in self.parts]} if self.parts else {}
        return {
            "file": self.file,
            "sha256": self.sha256,
            "epoch": self.epoch,
            "step": self.step,
            "valid": self.metrics,
            "state": self.state,
            **parts,
        }

    def load_network(self, dense_dtype: ms.Type = ms.float32, target: str = PORTABLE, part: Part = WHOLE) -> DeepFM:
        """Return the DeepFM with these weights, or a part of its tables: the EMA weights if the file has them.

        target: the device, "CPU", "GPU" or "Ascend", or PORTABLE; see DeepFM.
        """
        self.check_files()
        network = DeepFM(self.folder.network_config, dense_dtype=dense_dtype, target=target, part=part)
        self.load_into(network, part, use_ema=True)
        return network

    def load_into(self, cell: nn.Cell, part: Part = WHOLE, *, use_ema: bool = False) -> None:
        """Load every parameter of `cell`, of the tables the part that it has, or raise UserError.

        However many parts the checkpoint has, no more than one table of one of them is read at a time.
        use_ema: take the EMA weights, if the checkpoint has them.
        """
        weights = _read_weights(self.path, use_ema=use_ema)
        if self.parts or not part.is_whole:
            weights |= self._read_tables(cell, weights, part, use_ema=use_ema)
        _load_weights(cell, weights, self.path)

    def _read_tables(self, cell, weights, part, *, use_ema):
        """Return the part of each table of a cell.  weights: those in the file, by name."""
        config = self.folder.network_config
        names = [name for name in cell.parameters_dict() if is_table(name)]
        shapes = {name: table_shape(name, config.vocabulary_size, config.embedding_size) for name in names}
        whole = {name: weight.asnumpy() for name, weight in weights.items() if is_table(name)}
        sources = open_parts(self.folder.path, self.parts) if self.parts else [(WHOLE, whole.get)]
        try:
            tables = collect_tables(shapes, sources, part, use_ema=use_ema)
        except UserError as error:
            raise UserError(f"{self.path} does not hold the network of {MODEL_NAME}: {error}") from error
        return {name: Parameter(Tensor.from_numpy(table), name=name) for name, table in tables.items()}

    def check_files(self) -> None:
        """Raise UserError unless all files are there and intact."""
        for name, digest in self.digests.items():
            path = self.folder.path / name
            if not path.is_file():
                raise UserError(f"{path} is missing")
            if file_sha256(path) != digest:
                raise UserError(f"{path} is damaged or truncated: its SHA-256 is not the one in {MODEL_NAME}")

    def check_resumable(self) -> None:
        """Raise UserError unless the state has the form that this version of train.py writes."""
        if self.folder.format_version not in RESUMABLE_VERSIONS:
            raise UserError(
                f"{self.folder.path / MODEL_NAME}: training cannot be resumed from a run of an earlier version of "
                "train.py; train again, with --overwrite=True or another --ckpt_path (eval.py and export.py read it)"
            )

    def check_data(self, data: DatasetMeta) -> None:
        """Raise UserError unless the network was trained on data that were encoded like these."""
        different = self.folder.data_identity.differences(DataIdentity.of_dataset(data))
        if different:
            raise UserError(
                f"{self.folder.path} was trained on other data than {data.path}: {', '.join(different)} differ; "
                "use the MindRecord folder it was trained on"
            )


class ModelFolder:
    """A folder of checkpoints of one run, with its model.json."""

    def __init__(
        self, path: str | os.PathLike, network_config: DeepFMConfig, data_identity: DataIdentity, keep: int = 0
    ):
        """keep: the number of last checkpoints to keep, in addition to the best one; 0 for all."""
        self.path = pathlib.Path(path)
        self.network_config, self.data_identity, self.keep = network_config, data_identity, keep
        self.checkpoints: tuple[Checkpoint, ...] = ()
        self.format_version = FORMAT_VERSION

    @classmethod
    def create(
        cls,
        path: str | os.PathLike,
        network_config: DeepFMConfig,
        data_identity: DataIdentity,
        *,
        overwrite: bool = False,
        keep: int = 0,
    ) -> "ModelFolder":
        """Start a new run in `path`; the checkpoints of an earlier run are an error, or removed if `overwrite`."""
        folder = cls(path, network_config, data_identity, keep)
        folder.path.mkdir(parents=True, exist_ok=True)
        earlier = [*folder.path.glob(MODEL_NAME), *folder._checkpoint_files()]
        if earlier and not overwrite:
            raise UserError(
                f"{path} holds the checkpoints of an earlier run; resume it by --resume=True, choose another "
                "--ckpt_path, or replace them with --overwrite=True"
            )
        for file in earlier:
            file.unlink()
        return folder

    @staticmethod
    def exists(path: str | os.PathLike) -> bool:
        """Tell whether there is a model.json in the folder `path`."""
        return pathlib.Path(path, MODEL_NAME).exists()

    @classmethod
    def load(cls, path: str | os.PathLike, keep: int = 0) -> "ModelFolder":
        """Read model.json in the folder `path`."""
        model_path = pathlib.Path(path, MODEL_NAME)
        try:
            content = json.loads(model_path.read_text(encoding="utf-8"))
            if content["format_version"] not in READABLE_VERSIONS:
                raise UserError(f"{model_path}: written by another version of train.py; train again")
            config = DeepFMConfig(**_with_tuples(content["network"]))
            sizes = {"vocabulary_size": config.vocabulary_size}  # older files have it only there
            folder = cls(path, config, DataIdentity(**(sizes | _with_tuples(content["data"]))), keep)
            folder.format_version = content["format_version"]
            folder.checkpoints = tuple(Checkpoint.from_entry(folder, entry) for entry in content["checkpoints"])
            return folder
        except FileNotFoundError:
            raise UserError(f"{model_path} is missing; train.py writes it next to the checkpoints") from None
        except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(f"{model_path} is damaged ({error!r})") from error

    @property
    def best(self) -> Checkpoint:
        """The first checkpoint of the lowest validation log loss; the last one if none was validated."""
        validated = [checkpoint for checkpoint in self.checkpoints if checkpoint.metrics]
        if not validated:
            return self.checkpoints[-1]
        return min(validated, key=lambda checkpoint: checkpoint.metrics["log_loss"])

    def path_of(self, epoch: int, step: int) -> pathlib.Path:
        """Return the path of the checkpoint of a step of an epoch."""
        return self.path / f"deepfm-{epoch}_{step}.ckpt"

    def save(
        self,
        train_step: nn.Cell,
        epoch: int,
        step: int,
        metrics: dict,
        state: dict,
        *,
        is_validated: bool = True,
        parts: Sequence[PartFile] = (),
    ) -> None:
        """Write all parameters of `train_step`, those of the optimizer too, and the new model.json.

        parts: the files that have the tables already, if these are cut.
        Earlier checkpoints beyond `keep` are removed, unless the new one is still to be validated.
        """
        path = self.path_of(epoch, step)
        others = [checkpoint for checkpoint in self.checkpoints if checkpoint.file != path.name]
        _save_parameters(train_step, path, with_tables=not parts)
        new = Checkpoint(self, path.name, file_sha256(path), epoch, step, metrics, state, tuple(parts))
        self._list((*others, new), keep_some=is_validated)

    def update_last(self, metrics: dict, state: dict) -> None:
        """Give the last checkpoint its validation metrics in model.json; remove earlier ones as save() does."""
        *others, last = self.checkpoints
        self._list((*others, dataclasses.replace(last, metrics=metrics, state=state)), keep_some=True)

    def remove_last(self) -> None:
        """Remove the last checkpoint: validation has found its weights to be useless."""
        if len(self.checkpoints) == 1:
            (self.path / MODEL_NAME).unlink()
        self._list(self.checkpoints[:-1])

    def last_intact(self) -> Checkpoint:
        """Return the last checkpoint that is neither missing nor damaged; print a note on each one after it."""
        for checkpoint in reversed(self.checkpoints):
            try:
                checkpoint.check_files()
                return checkpoint
            except UserError as error:
                print(f"note: {error}; resuming from the one before it")
        raise UserError(f"{self.path} holds no intact checkpoint; --overwrite=True starts a new run")

    def drop_after(self, checkpoint: Checkpoint) -> None:
        """Remove the checkpoints that were written after this one."""
        self._list(self.checkpoints[: self.checkpoints.index(checkpoint) + 1])

    def _list(self, checkpoints, keep_some=False):
        """Make these the checkpoints, or of them those to keep; if model.json cannot be written, nothing changes."""
        earlier, self.checkpoints = self.checkpoints, checkpoints
        if keep_some and self.keep:
            last, best = checkpoints[-self.keep :], self.best
            self.checkpoints = tuple(each for each in checkpoints if each in last or each == best)
        if self.checkpoints:
            try:
                self._write()
            except OSError:
                self.checkpoints = earlier
                raise
        self._remove_unlisted()

    def _remove_unlisted(self):
        listed = {name for checkpoint in self.checkpoints for name in checkpoint.digests}
        for file in self._checkpoint_files():
            if file.name not in listed:
                file.unlink()

    def _checkpoint_files(self):
        return {file for pattern in CHECKPOINT_PATTERNS for file in self.path.glob(pattern)}

    def _write(self):
        has_parts = any(checkpoint.parts for checkpoint in self.checkpoints)
        content = {
            "format_version": PARTS_VERSION if has_parts else FORMAT_VERSION,
            "network": dataclasses.asdict(self.network_config),
            "data": self.data_identity.to_dict(),
            "best": self.best.file,
            "checkpoints": [checkpoint.to_entry() for checkpoint in self.checkpoints],
        }
        write_json(self.path / MODEL_NAME, content)


def find_checkpoint(path: str | os.PathLike, flag: str = "--checkpoint_path") -> Checkpoint:
    """Return the checkpoint that `path` names: a .ckpt file, or a folder for its best one."""
    for _ in range(READ_ATTEMPTS):
        folder, named = _find(path, flag)
        checkpoint = named or folder.best
        if all((folder.path / name).is_file() for name in checkpoint.digests):
            break  # otherwise a training has just replaced it by a better one
    return checkpoint


def find_resume_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Return the checkpoint to resume from: a .ckpt file, or the last intact one of a folder."""
    folder, named = _find(path, "--checkpoint_path")
    if named is None:
        return folder.last_intact()
    named.check_files()
    return named


def _find(path, flag):
    """Return the ModelFolder, and the Checkpoint if `path` is a file, else None."""
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"{flag}={path}: no such file or folder")
    folder = ModelFolder.load(path if path.is_dir() else path.parent)
    if not folder.checkpoints:
        raise UserError(f"{folder.path} holds no checkpoint")
    if path.is_dir():
        return folder, None
    for checkpoint in folder.checkpoints:
        if checkpoint.file == path.name:
            return folder, checkpoint
    raise UserError(f"{path} is not one of the checkpoints that {folder.path / MODEL_NAME} lists")


def load_into(cell: nn.Cell, path: str | os.PathLike) -> None:
    """Load every parameter of `cell` from a file with whole tables, or raise UserError."""
    _load_weights(cell, _read_weights(path), path)


def _read_weights(path, *, use_ema=False):
    """Return the parameters in a file by name.  use_ema: with the EMA weights, if there are any, as the weights."""
    weights = ms.load_checkpoint(str(path))
    if use_ema:
        averages = {name: weight for name, weight in weights.items() if name.startswith(EMA_PREFIX)}
        weights.update((name.removeprefix(EMA_PREFIX), weight) for name, weight in averages.items())
    return weights


def _load_weights(cell, weights, path):
    """Set the parameters of a cell to weights by name; UserError if one is missing or has another size."""
    wrong = [
        f"{name} {parameter.shape}"
        for name, parameter in cell.parameters_dict().items()
        if _is_saved(name) and (name not in weights or weights[name].shape != parameter.shape)
    ]
    if wrong:
        raise UserError(
            f"{path} does not hold the network of {MODEL_NAME}; missing or of another size: {', '.join(wrong)}"
        )
    loaded = {name: weights.get(name, parameter) for name, parameter in cell.parameters_dict().items()}
    ms.load_param_into_net(cell, loaded, strict_load=True)


def _is_saved(name):
    return not name.startswith(UNSAVED_PREFIX)


def _save_parameters(cell, path, *, with_tables=True):
    """Write the parameters of a cell atomically, or those that are no tables; OSError names the file."""
    try:
        with muted("Failed to save the checkpoint file"):
            ms.save_checkpoint(
                cell, str(path), choice_func=lambda name: _is_saved(name) and (with_tables or not is_table(name))
            )
    except OSError as error:
        with contextlib.suppress(OSError):
            path.with_suffix(".tmp").unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def _with_tuples(content):
    return {key: as_tuple(value) for key, value in content.items()}
