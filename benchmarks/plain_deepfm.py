# SPDX-License-Identifier: Apache-2.0
"""DeepFM in PyTorch alone, on encoded rows: plain_deepfm.py ROWS.npz SETTINGS.json SEED; pytorch_parity.py runs it.

It prints the best validation metrics as JSON.  The formulas are those of the papers, each in its plain form.
"""

import itertools
import json
import math
import pathlib
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

DEVIATION = 0.01  # of the tables at the beginning
EMA_START = 10


def main():
    rows_path, settings_path, seed = sys.argv[1:]
    torch.manual_seed(int(seed))
    settings = types.SimpleNamespace(**json.loads(pathlib.Path(settings_path).read_text()))
    arrays = {name: torch.from_numpy(array) for name, array in np.load(rows_path).items()}
    splits = {split: Rows(arrays, split) for split in ("train", "valid")}
    print(json.dumps(train(DeepFM(settings, arrays), splits, settings)))


class Rows:
    """The columns of a split: ids int64 [n, S], dense values and statistics float32, labels float32 [n]."""

    def __init__(self, arrays, split):
        self.inputs = [arrays[f"{split}_{name}"] for name in ("ids", "dense_values", "statistics")]
        self.labels = arrays[f"{split}_labels"]

    def at(self, index):
        return [column[index] for column in self.inputs], self.labels[index]


class DeepFM(nn.Module):
    """bias + sum_i w_i + sum_{i<j} <e_i, e_j> + MLP, with a vector of its own for each dense field, times its value."""

    def __init__(self, settings, arrays):
        super().__init__()
        ids, dense_values, statistics = Rows(arrays, "train").inputs
        size, dense_count = settings.embedding_size, dense_values.shape[1]
        vocabulary_size = int(arrays["vocabulary_size"])
        self.bias = nn.Parameter(torch.logit(arrays["train_labels"].mean())[None])
        self.linear, self.dense_linear = _table(vocabulary_size, 1), _table(dense_count, 1)
        self.embedding, self.dense_embedding = _table(vocabulary_size, size), _table(dense_count, size)
        self.statistic_weight = nn.Parameter(torch.zeros(statistics.shape[1]))
        self.dropout = nn.Dropout(1 - settings.embedding_keep_prob)
        widths = [(ids.shape[1] + dense_count) * size + statistics.shape[1], *settings.hidden_sizes]
        layers = [_layers(*pair, settings.keep_prob) for pair in itertools.pairwise(widths)]
        self.deep = nn.Sequential(*itertools.chain(*layers), _linear(widths[-1], 1))

    def forward(self, ids, dense_values, statistics):
        dense_vectors = dense_values[:, :, None] * self.dense_embedding
        sparse_vectors = self.embedding[ids]
        vectors = torch.cat([dense_vectors, sparse_vectors], 1)  # [B, F, D]
        first_order = self.linear[ids].sum((1, 2)) + dense_values @ self.dense_linear[:, 0]
        first_order = first_order + statistics @ self.statistic_weight
        second_order = ((vectors.sum(1) ** 2) - (vectors**2).sum(1)).sum(1) / 2
        inputs = [dense_vectors.flatten(1), self.dropout(sparse_vectors.flatten(1)), statistics]
        return self.bias + first_order + second_order + self.deep(torch.cat(inputs, 1))[:, 0]

    def penalty(self, l2_coef, l2_linear_factor):
        """Return the L2 penalty of the tables."""
        vectors = (self.embedding**2).sum() + (self.dense_embedding**2).sum()
        weights = (self.linear**2).sum() + (self.dense_linear**2).sum()
        return l2_coef / 2 * (vectors + l2_linear_factor * weights)


def train(model, splits, settings):
    """Train with Adam; return the metrics of the validation with the lowest log loss."""
    rows, steps_per_epoch = splits["train"], len(splits["train"].labels) // settings.batch_size
    total_steps = settings.train_epochs * steps_per_epoch
    warmup_steps = round(settings.warmup_ratio * total_steps)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, eps=settings.epsilon)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    best, without_improvement = {"log_loss": math.inf}, 0
    for step in range(total_steps):
        if step % steps_per_epoch == 0:
            order = torch.randperm(len(rows.labels))
        start = step % steps_per_epoch * settings.batch_size
        inputs, labels = rows.at(order[start : start + settings.batch_size])
        optimizer.param_groups[0]["lr"] = _learning_rate(settings, step, total_steps, warmup_steps)
        loss = nn.functional.binary_cross_entropy_with_logits(model.train()(*inputs), labels)
        loss = loss + model.penalty(settings.l2_coef, settings.l2_linear_factor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fraction = 1 - min(settings.ema_decay, (step + 1) / (step + 1 + EMA_START)) if settings.ema_decay else 1
        for name, value in model.state_dict().items():
            average[name] += fraction * (value - average[name])
        done = step + 1
        if done % (settings.eval_every_steps or steps_per_epoch) == 0 or done % steps_per_epoch == 0:
            metrics = _evaluate(model, average, splits["valid"])
            is_best = metrics["log_loss"] < best["log_loss"]
            best, without_improvement = (metrics, 0) if is_best else (best, without_improvement + 1)
            if without_improvement == settings.early_stop_patience != 0:
                break
    return best


def _evaluate(model, weights, rows):
    """Return the metrics of a model with other weights."""
    with torch.no_grad():
        logits = torch.func.functional_call(model.eval(), weights, tuple(rows.inputs))
    probabilities = logits.sigmoid().double().numpy()
    labels = rows.labels.numpy()
    return {"auc": roc_auc_score(labels, probabilities), "log_loss": log_loss(labels, probabilities)}


def _learning_rate(settings, step, total_steps, warmup_steps):
    if step < warmup_steps:
        return settings.learning_rate * (step + 1) / warmup_steps
    if settings.lr_schedule == "one_cycle":
        fraction = (step - warmup_steps) / (total_steps - warmup_steps)
        return settings.learning_rate * (1 + math.cos(math.pi * fraction)) / 2
    return settings.learning_rate


def _table(row_count, width):
    return nn.Parameter(torch.randn(row_count, width) * DEVIATION)


def _layers(inputs, outputs, keep_prob):
    return _linear(inputs, outputs), nn.ReLU(), nn.Dropout(1 - keep_prob)


def _linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


if __name__ == "__main__":
    main()
