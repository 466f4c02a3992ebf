# SPDX-License-Identifier: Apache-2.0
"""DeepFM straight from the paper's formula: every field's vector is formed, every pair multiplied."""

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops


class PlainDeepFM(nn.Cell):
    """The function of src.deepfm.DeepFM, with its weights, without folding and without the sum-of-squares trick."""

    def __init__(self, network, hidden_count):
        super().__init__()
        weights = {name: parameter.asnumpy() for name, parameter in network.parameters_dict().items()}
        dense_embedding = weights.get("dense_embedding", np.zeros((0, weights["embedding"].shape[1]), np.float32))
        self.dense_count = len(dense_embedding)
        self.bias = _parameter("bias", weights["bias"])
        self.linear = _parameter("linear", weights["linear"])
        self.embedding = _parameter("embedding", weights["embedding"])
        if self.dense_count:
            self.dense_linear = _parameter("dense_linear", weights["dense_linear"])
            self.dense_embedding = _parameter("dense_embedding", dense_embedding)
        self.layer_count = hidden_count + 1 if hidden_count else 0
        layers = []
        for layer in range(self.layer_count):
            name = "deep.first" if layer == 0 else f"deep.rest.{layer - 1}"
            matrix = weights[f"{name}.weight"].T  # [in, out]
            if layer == 0 and self.dense_count:
                folded = weights["deep.dense_weight"]  # [N, D, H]
                matrix = np.concatenate([folded.reshape(-1, folded.shape[2]), matrix])
            layers += [_parameter(f"weight{layer}", matrix), _parameter(f"offset{layer}", weights[f"{name}.bias"])]
        if layers:
            self.layers = ParameterTuple(layers)

    def construct(self, sparse_ids, dense_values=None):
        vectors, weights = [], []
        for field in range(self.dense_count):
            value = dense_values[:, field : field + 1]
            vectors.append(value * self.dense_embedding[field])
            weights.append(value * self.dense_linear[field])
        for field in range(sparse_ids.shape[1]):
            vectors.append(self.embedding[sparse_ids[:, field]])
            weights.append(self.linear[sparse_ids[:, field]])
        logits = self.bias
        for first, vector in enumerate(vectors):
            logits = logits + weights[first]
            for other in vectors[first + 1 :]:
                logits = logits + (vector * other).sum(axis=1, keepdims=True)
        if self.layer_count:
            hidden = ops.concat(vectors, axis=1)
            for layer in range(self.layer_count):
                hidden = ops.matmul(hidden, self.layers[2 * layer]) + self.layers[2 * layer + 1]
                if layer < self.layer_count - 1:
                    hidden = ops.relu(hidden)
            logits = logits + hidden
        return logits


def _parameter(name, values):
    return Parameter(Tensor(np.ascontiguousarray(values)), name=name)
