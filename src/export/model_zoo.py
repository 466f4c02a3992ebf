# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the DeepFM in MindSpore's model zoo (official/recommend/DeepFM), as networks of ours.

Its ids count the N dense fields first, from 0 to N - 1, and its deep part takes their embeddings first.  So its tables
and its first layer hold what is two parameters of ours; its id i + N is the sparse id i here.
"""

import itertools

import mindspore as ms
from mindspore import Parameter, Tensor

from src.common.errors import UserError
from src.deepfm import DeepFM, DeepFMConfig

LAYER_COUNT = 5  # the output among them; its code has no other number
# Our parameter, theirs, and how ours comes from it.  N dense fields, D embedding size; weights of theirs are [in, out].
RENAMED = (
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


def load_model_zoo(path, dense_field_count=13):
    """Return a DeepFM with the weights of a checkpoint of the model zoo's; their shapes say its sizes.

    UserError if the file is not such a checkpoint.  That network has no bias of its own, so that of ours is 0.
    """
    try:
        theirs = ms.load_checkpoint(str(path))
    except ValueError as error:
        raise UserError(f"{path} is not a checkpoint: {error}") from error
    missing = sorted({name for _, name, _ in RENAMED} - theirs.keys())
    if missing:
        raise UserError(f"{path} is not a checkpoint of the model zoo's DeepFM: it lacks {', '.join(missing)}")
    size = theirs["V_l2"].shape[1]
    ours = {name: convert(theirs[old].asnumpy(), dense_field_count, size) for name, old, convert in RENAMED}
    config = DeepFMConfig(
        vocabulary_size=len(ours["linear"]),
        sparse_field_count=ours["deep.first.weight"].shape[1] // size,
        dense_field_count=dense_field_count,
        embedding_size=size,
        hidden_sizes=tuple(theirs[f"dense_layer_{layer}.bias"].shape[0] for layer in range(1, LAYER_COUNT)),
    )
    network = DeepFM(config)
    parameters = {name: Parameter(Tensor(value.copy()), name=name) for name, value in ours.items()}
    ms.load_param_into_net(network, parameters | {"bias": network.bias}, strict_load=True)
    return network.set_train(False)
