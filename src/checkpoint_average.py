# SPDX-License-Identifier: Apache-2.0
"""Several checkpoints as one model, whose logit is the mean of theirs.

The mean of k DeepFMs is a DeepFM: its embeddings are those of all of them side by side, its hidden layers have the
units of all of them, without weights from one to another.  So all that reads, exports or explains a checkpoint does so
with an average.  Its layers have k times as many inputs and units, and take k^2 times as many multiplications.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor

from src.checkpoint import Checkpoint, ModelFolder, find_checkpoint
from src.common.errors import UserError
from src.common.files import listed_paths
from src.deepfm import DeepFM, DeepFMConfig
from src.network.sums import PORTABLE
from src.network.tables import WHOLE, Part


@dataclasses.dataclass(frozen=True)
class AveragedCheckpoint(Checkpoint):
    """The average of several checkpoints of the same data; `file` and `path` name the first one, and their number."""

    members: tuple[Checkpoint, ...] = ()

    @classmethod
    def of(cls, members: Sequence[Checkpoint]) -> "AveragedCheckpoint":
        """Raises UserError unless the networks know the same data, and have as many hidden layers."""
        first = members[0]
        for member in members[1:]:
            _check_match(first, member)
        config = average_config([member.folder.network_config for member in members])
        folder = ModelFolder(first.folder.path, config, first.folder.data_identity)
        name = f"{first.file} and {len(members) - 1} more"
        digest = hashlib.sha256(" ".join(member.identity for member in members).encode()).hexdigest()
        return cls(folder, name, digest, first.epoch, first.step, {}, {}, members=tuple(members))

    def check_files(self) -> None:
        for member in self.members:
            member.check_files()

    def load_network(self, dense_dtype: ms.Type = ms.float32, target: str = PORTABLE, part: Part = WHOLE) -> DeepFM:
        """Return the DeepFM whose logit is the mean of those of the members; UserError for a part of its tables."""
        if not part.is_whole:
            raise UserError("an average of checkpoints needs whole tables; leave out --shard_embedding")
        configs, weights = [], []
        for member in self.members:
            network = member.load_network()
            configs.append(network.config)
            weights.append({name: each.asnumpy() for name, each in network.parameters_dict().items()})
        network = DeepFM(self.folder.network_config, dense_dtype=dense_dtype, target=target)
        averaged = average_weights(weights, configs)
        for name, parameter in network.parameters_dict().items():
            if name in averaged:  # not the step of the dropout
                parameter.set_data(Tensor(averaged[name].astype(np.float32)))
        return network


def find_model(paths: str, flag: str = "--checkpoint_path") -> Checkpoint:
    """Return the checkpoint that a path names, or the average of those that paths, with commas between them, name."""
    found = [find_checkpoint(path, flag) for path in listed_paths(paths)]
    return found[0] if len(found) == 1 else AveragedCheckpoint.of(found)


def average_config(configs: Sequence[DeepFMConfig]) -> DeepFMConfig:
    """Return the sizes of the average of networks of the same data with as many hidden layers."""
    return dataclasses.replace(
        configs[0],
        embedding_size=sum(config.embedding_size for config in configs),
        hidden_sizes=tuple(map(sum, zip(*(config.hidden_sizes for config in configs)))),
        keep_prob=1.0,
        embedding_keep_prob=1.0,
    )


def average_weights(
    members: Sequence[Mapping[str, np.ndarray]], configs: Sequence[DeepFMConfig]
) -> dict[str, np.ndarray]:
    """Return the weights of the average, by the names of DeepFM's parameters.

    members: those of each network.  configs: their sizes.  The statistics of values are the same in all of them.
    """
    count, config = len(members), configs[0]
    scale = math.sqrt(count)  # so that <E_i, E_j> of the embeddings side by side is the mean of the members' <e_i, e_j>

    def stacked(name, axis):
        return np.concatenate([weights[name] for weights in members], axis)

    def mean(name):
        return sum(weights[name].astype(np.float64) for weights in members) / count

    averaged = {
        name: mean(name) for name in ("bias", "linear", "dense_linear", "statistic_weight") if name in members[0]
    }
    averaged |= {name: stacked(name, 1) / scale for name in ("embedding", "dense_embedding") if name in members[0]}
    if config.has_statistics:
        averaged["statistics"] = members[0]["statistics"]
    if not config.hidden_sizes:
        return averaged
    first = [_by_field(weights["deep.first.weight"], each.embedding_size) for weights, each in zip(members, configs)]
    joined = _blocks(first).transpose(0, 2, 1)  # [H, S, D] of the average
    averaged["deep.first.weight"] = scale * joined.reshape(len(joined), -1)
    averaged["deep.first.bias"] = stacked("deep.first.bias", 0)
    if "deep.dense_weight" in members[0]:  # [N, D, H]
        averaged["deep.dense_weight"] = scale * _blocks([weights["deep.dense_weight"] for weights in members], (1, 2))
    if config.has_statistics:
        averaged["deep.statistic_weight"] = stacked("deep.statistic_weight", 1)
    *between, last = (f"deep.rest.{layer}" for layer in range(len(config.hidden_sizes)))
    for name in between:
        averaged[f"{name}.weight"] = _blocks([weights[f"{name}.weight"] for weights in members])
        averaged[f"{name}.bias"] = stacked(f"{name}.bias", 0)
    averaged[f"{last}.weight"], averaged[f"{last}.bias"] = stacked(f"{last}.weight", 1) / count, mean(f"{last}.bias")
    return averaged


def _by_field(weight, embedding_size):
    """Return the weights [H, S * D] of the first layer as [H, D, S]."""
    return weight.reshape(len(weight), -1, embedding_size).transpose(0, 2, 1)


def _blocks(arrays, axes=(0, 1)):
    """Return arrays one after the other along the diagonal of two axes, zero elsewhere."""
    shape, position = list(arrays[0].shape), [0, 0]
    for axis in axes:
        shape[axis] = sum(array.shape[axis] for array in arrays)
    joined = np.zeros(shape, arrays[0].dtype)
    for array in arrays:
        block = [slice(None)] * array.ndim
        for number, axis in enumerate(axes):
            block[axis] = slice(position[number], position[number] + array.shape[axis])
            position[number] += array.shape[axis]
        joined[tuple(block)] = array
    return joined


def _check_match(first, other):
    different = first.folder.data_identity.differences(other.folder.data_identity)
    if different:
        raise UserError(f"{other.path} was trained on other data than {first.path}: {', '.join(different)} differ")
    ours, theirs = first.folder.network_config, other.folder.network_config
    if ours.has_statistics != theirs.has_statistics:
        raise UserError(f"of {first.path} and {other.path} only one has --value_statistics=True; they have no average")
    if len(ours.hidden_sizes) != len(theirs.hidden_sizes):
        raise UserError(
            f"{first.path} has {len(ours.hidden_sizes)} hidden layers and {other.path} {len(theirs.hidden_sizes)}; an "
            "average needs as many in all"
        )
