# SPDX-License-Identifier: Apache-2.0
"""Training steps of DeepFM in other systems: python benchmarks/torch_training.py SYSTEM SIZE STEPS

benchmarks/training.py runs it in an environment of benchmarks/requirements-peers.txt.  SIZE: a JSON object with the
fields of its Size.  It prints a JSON object: seconds of each step, peak_bytes of the process, flops of the products of
a step; of "float32" and "bfloat16", which are the products that the others are measured by, flops of a second.
"""

import contextlib
import itertools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

LEARNING_RATE, L2_COEF, WARM_UP_STEPS = 5e-4, 8e-5, 2
PRODUCT_SHAPE, PRODUCT_SECONDS = (4096, 2048, 1024), 1.0


def main():
    system, size, steps = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    torch.manual_seed(1)
    if system in PRODUCTS:
        print(json.dumps({"flops_per_second": product_rate(PRODUCTS[system])}))
        return
    step = SYSTEMS[system](size)
    seconds = []
    for _ in range(WARM_UP_STEPS + steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds[WARM_UP_STEPS:], "peak_bytes": peak_bytes, "flops": product_flops(size)}))


def product_rate(dtype):
    """Return the floating-point operations per second of matrix products in `dtype`, the best of a second of them."""
    rows, inner, columns = PRODUCT_SHAPE
    left, right = torch.randn(rows, inner, dtype=dtype), torch.randn(inner, columns, dtype=dtype)
    least, end = np.inf, time.perf_counter() + PRODUCT_SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        least = min(least, time.perf_counter() - start)
    return 2 * rows * inner * columns / least


def product_flops(size):
    """Return the operations of the products of a step over all fields: forward, and both gradients."""
    inputs = (size["sparse_fields"] + size["dense_fields"]) * size["embedding_size"]
    return 6 * size["batch_size"] * sum(a * b for a, b in itertools.pairwise([inputs, *size["hidden_sizes"], 1]))


def draw_batch(size):
    random, rows = np.random.default_rng(1), size["batch_size"]
    ids = random.integers(0, size["vocabulary_size"], (rows, size["sparse_fields"]))
    values = random.random((rows, size["dense_fields"]), np.float32)
    labels = (random.random(rows) < 0.25).astype(np.float32)
    return map(torch.from_numpy, (ids, values, labels))


def plain_pytorch(size, context: Callable = contextlib.nullcontext):
    """The formula of the paper on concatenated embeddings, eager, with dense gradients and L2 on the whole tables."""
    ids, values, labels = draw_batch(size)
    fields = size["sparse_fields"] + size["dense_fields"]
    linear, embedding = (
        nn.init.normal_(torch.empty(size["vocabulary_size"] + size["dense_fields"], width), std=0.01).requires_grad_()
        for width in (1, size["embedding_size"])
    )
    deep = nn.Sequential(
        *hidden_layers([fields * size["embedding_size"], *size["hidden_sizes"]], size["keep_prob"]),
        nn.Linear(size["hidden_sizes"][-1], 1),
    )
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([linear, embedding, bias, *deep.parameters()], lr=LEARNING_RATE, fused=True)
    dense_ids = size["vocabulary_size"] + torch.arange(size["dense_fields"]).expand(size["batch_size"], -1)
    indices = torch.cat([ids, dense_ids], 1)
    weights = torch.cat([torch.ones(ids.shape), values], 1)

    def step():
        with context():
            vectors = nn.functional.embedding(indices, embedding) * weights[:, :, None]  # [B, F, D]
            first_order = (nn.functional.embedding(indices, linear)[:, :, 0] * weights).sum(1)
            pairs = (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1) / 2
            logits = first_order + pairs + deep(vectors.flatten(1))[:, 0].float() + bias
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
            loss = loss + L2_COEF / 2 * ((linear**2).sum() + (embedding**2).sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def hidden_layers(sizes, keep_prob):
    for inputs, outputs in itertools.pairwise(sizes):
        yield from (nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(1 - keep_prob))


def bfloat16_pytorch(size):
    return plain_pytorch(size, lambda: torch.autocast("cpu", torch.bfloat16))


def fuxictr(size):
    """FuxiCTR's layers and its training step; it has no values of dense fields in the factorization machine."""
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel

    class DeepFM(BaseModel):
        def __init__(self, feature_map, **settings):
            super().__init__(feature_map, model_id="DeepFM", verbose=0, metrics=["AUC"], **settings)
            self.embedding_layer = FeatureEmbedding(feature_map, size["embedding_size"])
            self.fm = FactorizationMachine(feature_map)
            width = feature_map.sum_emb_out_dim()
            self.mlp = MLP_Block(
                width, size["hidden_sizes"], output_dim=1, output_activation=None, dropout_rates=1 - size["keep_prob"]
            )
            self.compile("adam", "binary_crossentropy", LEARNING_RATE)
            self.reset_parameters()

        def forward(self, inputs):
            features = self.get_inputs(inputs)
            embeddings = self.embedding_layer(features)
            return {"y_pred": self.output_activation(self.fm(features, embeddings) + self.mlp(embeddings.flatten(1)))}

    folder = tempfile.mkdtemp()
    ids, values, labels = draw_batch(size)
    feature_map = FeatureMap("rows", folder)
    names = [f"C{number}" for number in range(size["sparse_fields"])]
    batch = dict(zip(names, (ids // size["sparse_fields"]).unbind(1)))
    for name in names:
        vocabulary_size = size["vocabulary_size"] // size["sparse_fields"] + 1
        feature_map.features[name] = {"source": "", "type": "categorical", "vocab_size": vocabulary_size}
    for number in range(size["dense_fields"]):
        feature_map.features[f"I{number}"] = {"source": "", "type": "numeric"}
        batch[f"I{number}"] = values[:, number]
    batch["label"] = labels
    feature_map.labels, feature_map.default_emb_dim = ["label"], size["embedding_size"]
    feature_map.num_fields, feature_map.total_features = len(feature_map.features), size["vocabulary_size"]
    model = DeepFM(feature_map, model_root=folder, embedding_regularizer=L2_COEF)
    model.train()
    model._max_gradient_norm = 10.0  # its default
    return lambda: model.train_step(batch)


def deepctr_torch(size):
    """DeepCTR-Torch's DeepFM, and the step of its fit(); its dense fields are numbers without embeddings."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DeepFM

    ids, values, labels = draw_batch(size)
    field_size, width = size["vocabulary_size"] // size["sparse_fields"] + 1, size["embedding_size"]
    columns = [SparseFeat(f"C{number}", field_size, embedding_dim=width) for number in range(size["sparse_fields"])]
    columns += [DenseFeat(f"I{number}", 1) for number in range(size["dense_fields"])]
    model = DeepFM(
        columns, columns, dnn_hidden_units=tuple(size["hidden_sizes"]), l2_reg_linear=L2_COEF, l2_reg_embedding=L2_COEF,
        dnn_dropout=1 - size["keep_prob"], device="cpu",
    )  # fmt: skip
    model.compile(torch.optim.Adam(model.parameters(), LEARNING_RATE), "binary_crossentropy")
    inputs = torch.cat([(ids // size["sparse_fields"]).float(), values], 1)
    model.train()

    def step():
        predicted = model(inputs).squeeze()
        model.optim.zero_grad()
        loss = model.loss_func(predicted, labels, reduction="sum") + model.get_regularization_loss() + model.aux_loss
        loss.backward()
        model.optim.step()

    return step


PRODUCTS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SYSTEMS = {
    "pytorch": plain_pytorch,
    "pytorch_bfloat16": bfloat16_pytorch,
    "fuxictr": fuxictr,
    "deepctr_torch": deepctr_torch,
}

if __name__ == "__main__":
    main()
