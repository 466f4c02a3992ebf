# SPDX-License-Identifier: Apache-2.0
"""DeepFM, its loss, its gradients and Adam in numpy's float64, worked out by hand: nothing of MindSpore, no folding."""

import numpy as np


class NumpyDeepFM:
    """The network of src.deepfm with these weights, float64 arrays by the names of its parameters.

    Statistics count in the logits alone, not in the gradients.
    rounded: what a device does to the factors of every product of matrices; nothing by default.
    """

    def __init__(self, weights, hidden_count, l2_coef=0.0, rounded=lambda matrix: matrix):
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.hidden_count, self.l2_coef, self.rounded = hidden_count, l2_coef, rounded
        self.moments = {name: (np.zeros_like(value), np.zeros_like(value)) for name, value in self.weights.items()}
        self.step = 0

    def logits(self, ids, values):
        return self._forward(ids, values)[0]

    def loss_and_gradients(self, ids, values, labels):
        """labels: [B]; -1 is padding."""
        weights, product = self.weights, self._product
        logits, vectors, inputs = self._forward(ids, values)
        real = labels != -1
        losses = np.logaddexp(0, np.where(labels == 1, -logits, logits))[real]
        slope = np.where(real, 1 / (1 + np.exp(-logits)) - (labels == 1), 0) / real.sum()  # of the loss in the logits
        gradients = {name: np.zeros_like(value) for name, value in weights.items()}
        gradients["bias"][0] = slope.sum()
        np.add.at(gradients["linear"][:, 0], ids, np.broadcast_to(slope[:, None], ids.shape))
        gradients["dense_linear"][:, 0] = product(values.T, slope[:, None])[:, 0]
        to_vectors = slope[:, None, None] * (vectors.sum(1, keepdims=True) - vectors)  # [B, N + S, D]
        back = slope[:, None]
        for layer in reversed(range(self.hidden_count)):
            gradients[f"deep.rest.{layer}.weight"] = product(back.T, inputs[layer + 1])
            gradients[f"deep.rest.{layer}.bias"] = back.sum(0)
            back = product(back, weights[f"deep.rest.{layer}.weight"]) * (inputs[layer + 1] > 0)
        flat, matrix = inputs[0], self._first_matrix()
        by_matrix = product(back.T, flat)  # [H, (N + S) * D]
        gradients["deep.first.bias"] = back.sum(0)
        dense_count, size = weights["dense_embedding"].shape
        by_field = by_matrix[:, : dense_count * size].reshape(-1, dense_count, size)
        gradients["deep.dense_weight"] = by_field.transpose(1, 2, 0)
        gradients["deep.first.weight"] = by_matrix[:, dense_count * size :]
        to_vectors = to_vectors + product(back, matrix).reshape(vectors.shape)
        gradients["dense_embedding"] = np.einsum("bn,bnd->nd", values, to_vectors[:, :dense_count])
        np.add.at(gradients["embedding"], ids, to_vectors[:, dense_count:])
        loss = losses.sum() / real.sum()
        for name in ("linear", "embedding", "dense_linear", "dense_embedding"):
            loss += self.l2_coef / 2 * (weights[name] ** 2).sum()
            gradients[name] += self.l2_coef * weights[name]
        return loss, gradients

    def train(self, ids, values, labels, learning_rate, epsilon):
        """Do a step of Adam (Kingma & Ba, ICLR 2015, as section 2 ends: epsilon is not corrected); return the loss."""
        loss, gradients = self.loss_and_gradients(ids, values, labels)
        self.step += 1
        for name, gradient in gradients.items():
            first, second = self.moments[name]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            rate = learning_rate * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
            self.weights[name] -= rate * first / (np.sqrt(second) + epsilon)
        return loss

    def _product(self, a, b):
        return self.rounded(a) @ self.rounded(b)

    def _first_matrix(self):
        dense = self.weights["deep.dense_weight"]  # [N, D, H]
        return np.concatenate([dense.reshape(-1, dense.shape[2]).T, self.weights["deep.first.weight"]], axis=1)

    def _forward(self, ids, values):
        """Return the logits [B], the vectors of all fields [B, N + S, D], and the input of each layer."""
        weights = self.weights
        vectors = np.concatenate([values[:, :, None] * weights["dense_embedding"], weights["embedding"][ids]], axis=1)
        pairs = ((vectors.sum(1) ** 2) - (vectors**2).sum(1)).sum(1) / 2
        logits = weights["bias"][0] + weights["linear"][ids, 0].sum(1) + pairs
        logits = logits + self._product(values, weights["dense_linear"])[:, 0]
        inputs = [vectors.reshape(len(ids), -1)]
        hidden = self._product(inputs[0], self._first_matrix().T) + weights["deep.first.bias"]
        if "statistics" in weights:
            statistics = weights["statistics"][ids].reshape(len(ids), -1)
            logits = logits + self._product(statistics, weights["statistic_weight"])[:, 0]
            hidden = hidden + self._product(statistics, weights["deep.statistic_weight"])
        for layer in range(self.hidden_count):
            inputs.append(hidden.clip(0))
            matrix, offset = (weights[f"deep.rest.{layer}.{part}"] for part in ("weight", "bias"))
            hidden = self._product(inputs[-1], matrix.T) + offset
        return logits + hidden[:, 0], vectors, inputs
