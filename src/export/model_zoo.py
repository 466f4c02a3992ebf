# SPDX-License-Identifier: Apache-2.0
"""Convert checkpoints of the DeepFM in MindSpore's model zoo (official/recommend/DeepFM).

There the N dense fields have the ids 0 to N - 1, before the sparse fields, and the MLP takes their embeddings first.
So each of its tables, and its first layer, becomes two parameters here, and its id i + N becomes the sparse id i.
"""

import itertools
import os

import mindspore as ms
from mindspore import Parameter, Tensor

from src.common.errors import UserError
from src.deepfm import DeepFM, DeepFMConfig

LAYER_COUNT = 5  # with the output layer; the model zoo's code has no other number
# The names of a parameter here and in the model zoo, and the conversion.  n: N, d: embedding size.
# Weights in the model zoo are [in, out].
CONVERSIONS = (
    ("dense_linear", "W_l2", lambda table, n, d: table[:n]),
    ("linear", "W_l2", lambda table, n, d: table[n:]),
    ("dense_embedding", "V_l2", lambda table, n, d: table[:n]),
    ("embedding", "V_l2", lambda table, n, d: table[n:]),
    ("deep.dense_weight", "dense_layer_1.weight", lambda weight, n, d: weight[: n * d].reshape(n, d, -1)),
    ("deep.first.weight", "dense_layer_1.weight", lambda weight, n, d: weight[n * d :].T),
    ("deep.first.bias", "dense_layer_1.bias", lambda bias, n, d: bias),
    *itertools.chain.from_iterable(
        (
            (f"deep.rest.{layer - 2}.weight", f"dense_layer_{layer}.weight", lambda weight, n, d: weight.T),
            (f"deep.rest.{layer - 2}.bias", f"dense_layer_{layer}.bias", lambda bias, n, d: bias),
        )
        for layer in range(2, LAYER_COUNT + 1)
    ),
)


def load_model_zoo(path: str | os.PathLike, dense_field_count: int = 13) -> DeepFM:
    """Return a DeepFM with the weights and the sizes of a checkpoint of the model zoo's DeepFM.

    The global bias, which the model zoo's network lacks, is 0.  Raises UserError if the file is no such checkpoint.
    """
    try:
        zoo_weights = ms.load_checkpoint(str(path))
    except ValueError as error:
        raise UserError(f"{path} is not a checkpoint: {error}") from error
    missing = sorted({name for _, name, _ in CONVERSIONS} - zoo_weights.keys())
    if missing:
        raise UserError(f"{path} is not a checkpoint of the model zoo's DeepFM: it lacks {', '.join(missing)}")
    size = zoo_weights["V_l2"].shape[1]
    weights = {name: convert(zoo_weights[old].asnumpy(), dense_field_count, size) for name, old, convert in CONVERSIONS}
    config = DeepFMConfig(
        vocabulary_size=len(weights["linear"]),
        sparse_field_count=weights["deep.first.weight"].shape[1] // size,
        dense_field_count=dense_field_count,
        embedding_size=size,
        hidden_sizes=tuple(zoo_weights[f"dense_layer_{layer}.bias"].shape[0] for layer in range(1, LAYER_COUNT)),
    )
    network = DeepFM(config)
    parameters = {name: Parameter(Tensor(value.copy()), name=name) for name, value in weights.items()}
    ms.load_param_into_net(network, parameters | {"bias": network.bias}, strict_load=True)
    return network.set_train(False)
