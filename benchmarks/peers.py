# SPDX-License-Identifier: Apache-2.0
"""Other systems on rows that benchmarks/accuracy.py has split: python benchmarks/peers.py MODEL ROWS SEED OUT

Runs in an environment of benchmarks/requirements-peers.txt.  ROWS: a parquet file with the columns split ("train",
"valid" or "test"), label, I1.., C1..; OUT: an .npy file for the click probabilities of the test rows, in their order.
Each model is fitted on the training set, its epoch or regularisation is selected on the validation set, and it predicts
the test set once.
"""

import itertools
import math
import pathlib
import sys
import tempfile
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import polars as pl

from src.evaluation.metrics import log_loss

SPLITS = ("train", "valid", "test")
INTEGERS = [f"I{number}" for number in range(1, 14)]
CATEGORIES = [f"C{number}" for number in range(1, 27)]


def main():
    model, rows_path, seed, out_path = sys.argv[1:]
    rows = pl.read_parquet(rows_path)
    splits = {split: rows.filter(pl.col("split") == split) for split in SPLITS}
    np.save(out_path, MODELS[model](splits, int(seed)).astype(np.float64))


def labels_of(frame):
    return frame["label"].to_numpy().astype(np.float32)


def bucket(name):
    """Return floor(ln(x)^2) above 2, else x, as text; a missing value is empty (FuxiCTR, datasets/criteo.py)."""
    value = pl.col(name)
    large = (value.clip(lower_bound=1).log() ** 2).floor().cast(pl.Int64)
    return pl.when(value > 2).then(large).otherwise(value).cast(pl.String).fill_null("").alias(name)


def number_values(splits, names, least_count):
    """Return per split ids [n, names], from 1 in each column, and the size of each column; rare values share one id."""
    columns, sizes = {split: [] for split in SPLITS}, []
    for name in names:
        counts = splits["train"][name].value_counts().filter(pl.col("count") >= least_count)
        kept = counts.sort(["count", name], descending=[True, False])[name]
        ids = pl.Series(range(1, len(kept) + 1), dtype=pl.Int64)
        for split, frame in splits.items():
            columns[split].append(frame[name].replace_strict(kept, ids, default=len(kept) + 1, return_dtype=pl.Int64))
        sizes.append(len(kept) + 2)
    return {split: pl.DataFrame(parts).to_numpy() for split, parts in columns.items()}, sizes


def logistic_regression(splits, seed):
    """One-hot of bucketed integers and categories, hashed to 2^20; L2 selected on the validation set."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import LogisticRegression

    def features(frame):
        frame = frame.with_columns(map(bucket, INTEGERS))
        texts = frame.select(
            (pl.lit(f"{name}=") + pl.col(name).fill_null("")).alias(name) for name in INTEGERS + CATEGORIES
        )
        return FeatureHasher(2**20, input_type="string", alternate_sign=False).transform(texts.rows())

    matrices = {split: features(frame) for split, frame in splits.items()}
    best = (np.inf, None)
    for strength in (0.03, 0.06, 0.12, 0.25):
        model = LogisticRegression(C=strength, max_iter=300, random_state=seed)
        model.fit(matrices["train"], labels_of(splits["train"]))
        valid, test = (model.predict_proba(matrices[split])[:, 1] for split in ("valid", "test"))
        best = min(best, (log_loss(labels_of(splits["valid"]), valid), test), key=lambda item: item[0])
    return best[1]


def lightgbm(splits, seed):
    """Integers as they are; of categories the click rate (in train out of fold, smoothed) and the count in train."""
    import lightgbm as lgb

    train = splits["train"]
    fold = np.random.default_rng(seed).integers(0, 5, train.height)
    rate = train["label"].mean()

    def encode(known, frame, name):
        seen = known.group_by(name).agg(pl.col("label").sum().alias("clicks"), pl.len().alias("rows"))
        joined = frame.select(name).join(seen, on=name, how="left", nulls_equal=True, maintain_order="left")
        clicks, rows = (joined[column].fill_null(0).to_numpy().astype(np.float64) for column in ("clicks", "rows"))
        return (clicks + 20 * rate) / (rows + 20), rows

    def features(frame, is_train):
        columns = [frame[name].cast(pl.Float64).to_numpy() for name in INTEGERS]
        for name in CATEGORIES:
            rates, counts = encode(train, frame, name)
            if is_train:
                for number in range(5):
                    mask = fold == number
                    rates[mask] = encode(train.filter(~mask), frame.filter(mask), name)[0]
            columns += [rates, np.log1p(counts)]
        return np.column_stack(columns)

    data = {split: features(frame, split == "train") for split, frame in splits.items()}
    train_set = lgb.Dataset(data["train"], labels_of(train))
    valid_set = lgb.Dataset(data["valid"], labels_of(splits["valid"]), reference=train_set)
    parameters = {
        "objective": "binary", "learning_rate": 0.03, "num_leaves": 31, "min_data_in_leaf": 50, "lambda_l2": 1.0,
        "feature_fraction": 0.6, "bagging_fraction": 0.8, "bagging_freq": 1, "seed": seed, "verbose": -1,
    }  # fmt: skip
    stop = lgb.early_stopping(100, verbose=False)
    model = lgb.train(parameters, train_set, 3000, valid_sets=[valid_set], callbacks=[stop])
    return model.predict(data["test"], num_iteration=model.best_iteration)


def fuxictr(splits, seed):
    """FuxiCTR's layers and training loop as a DeepFM: buckets, counts from 2, D=16, 400x3, L2 1e-3, B=1000."""
    import torch
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel
    from fuxictr.pytorch.torch_utils import seed_everything

    class DeepFM(BaseModel):
        def __init__(self, feature_map, **settings):
            super().__init__(feature_map, model_id="DeepFM", verbose=0, metrics=["AUC", "logloss"], **settings)
            self.embedding_layer = FeatureEmbedding(feature_map, 16)
            self.fm = FactorizationMachine(feature_map)
            self.mlp = MLP_Block(
                feature_map.sum_emb_out_dim(), [400] * 3, output_dim=1, output_activation=None, dropout_rates=0.2
            )
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs):
            features = self.get_inputs(inputs)
            embeddings = self.embedding_layer(features)
            logits = self.fm(features, embeddings) + self.mlp(embeddings.flatten(start_dim=1))
            return {"y_pred": self.output_activation(logits)}

    splits = {split: frame.with_columns(map(bucket, INTEGERS)) for split, frame in splits.items()}
    names = INTEGERS + CATEGORIES
    ids, sizes = number_values(splits, names, least_count=2)
    with tempfile.TemporaryDirectory() as folder:
        seed_everything(seed)
        pathlib.Path(folder, "rows").mkdir()  # for its best checkpoint
        feature_map = FeatureMap("rows", folder)
        for name, size in zip(names, sizes):
            feature_map.features[name] = {"source": "", "type": "categorical", "padding_idx": 0, "vocab_size": size}
        feature_map.labels, feature_map.default_emb_dim = ["label"], 16
        feature_map.num_fields, feature_map.total_features = len(names), sum(sizes)

        def batches(split, batch_size=1000):
            columns = [torch.from_numpy(ids[split]), torch.from_numpy(labels_of(splits[split]))]
            return Batches(columns, names, batch_size, shuffle=split == "train")

        model = DeepFM(
            feature_map, model_root=folder, monitor={"AUC": 1, "logloss": -1}, embedding_regularizer=1e-3,
            early_stop_patience=2,
        )  # fmt: skip
        model.fit(batches("train"), epochs=30, validation_data=batches("valid", 10000))
        return model.predict(batches("test", 10000))


class Batches:
    """Batches as FuxiCTR takes them: a tensor for each column, by name."""

    def __init__(self, columns, names, batch_size, shuffle):
        self._columns, self._names, self._batch_size, self._shuffle = columns, names, batch_size, shuffle

    def __len__(self):
        return math.ceil(len(self._columns[1]) / self._batch_size)

    def __iter__(self):
        import torch

        ids, labels = self._columns
        order = torch.randperm(len(labels)) if self._shuffle else torch.arange(len(labels))
        for rows in order.split(self._batch_size):
            yield {**dict(zip(self._names, ids[rows].unbind(1))), "label": labels[rows]}


def deepctr_torch(splits, seed):
    """DeepCTR-Torch with the settings of its Criteo example, but for batches of 256; the best of 5 epochs."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat, get_feature_names
    from deepctr_torch.models import DeepFM
    from sklearn.preprocessing import MinMaxScaler

    filled = {split: frame.with_columns(pl.col(CATEGORIES).fill_null("-1")) for split, frame in splits.items()}
    ids, sizes = number_values({**filled, "train": pl.concat(filled.values())}, CATEGORIES, least_count=1)
    ids["train"] = ids["train"][: splits["train"].height]  # the example numbers the values of all rows
    numbers = {split: frame.select(pl.col(INTEGERS).fill_null(0)).to_numpy() for split, frame in splits.items()}
    scaler = MinMaxScaler().fit(np.concatenate(list(numbers.values())))
    inputs = {
        split: {
            **dict(zip(CATEGORIES, ids[split].T)),
            **dict(zip(INTEGERS, scaler.transform(numbers[split]).T.astype(np.float32))),
        }
        for split in SPLITS
    }
    columns = [SparseFeat(name, size, embedding_dim=4) for name, size in zip(CATEGORIES, sizes)]
    columns += [DenseFeat(name, 1) for name in INTEGERS]
    model = DeepFM(columns, columns, task="binary", l2_reg_embedding=1e-5, device="cpu", seed=seed)
    model.compile("adagrad", "binary_crossentropy")
    inputs = {split: [inputs[split][name] for name in get_feature_names(columns)] for split in SPLITS}

    def epoch():
        model.fit(inputs["train"], labels_of(splits["train"])[:, None], batch_size=256, epochs=1, verbose=0)

    return best_epoch(5, epoch, lambda split: model.predict(inputs[split], 10000).ravel(), splits)


def best_epoch(epochs, run_epoch, predict, splits):
    """Return the predictions for test after the epoch of the lowest validation log loss."""
    best = (np.inf, None)
    for _ in range(epochs):
        run_epoch()
        valid = predict("valid")
        best = min(best, (log_loss(labels_of(splits["valid"]), valid), predict("test")), key=lambda item: item[0])
    return best[1]


def plain_pytorch(splits, seed):
    """The model zoo's recipe in PyTorch alone: integers divided by their largest, B=1000; the best of 5 epochs."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    filled = {split: frame.with_columns(pl.col(CATEGORIES).fill_null("")) for split, frame in splits.items()}
    ids, sizes = number_values(filled, CATEGORIES, least_count=11)
    offsets = np.cumsum([len(INTEGERS), *sizes[:-1]])
    largest = np.abs(splits["train"].select(pl.col(INTEGERS).fill_null(0)).to_numpy()).max(axis=0).clip(1)
    data = {}
    for split, frame in splits.items():
        values = frame.select(pl.col(INTEGERS).fill_null(0)).to_numpy() / largest
        indices = np.hstack([np.tile(np.arange(len(INTEGERS)), (frame.height, 1)), ids[split] + offsets])
        weights = np.hstack([values, np.ones_like(ids[split])]).astype(np.float32)
        data[split] = [torch.from_numpy(array) for array in (indices, weights, labels_of(frame))]
    model = types.SimpleNamespace(
        linear=nn.Embedding(offsets[-1] + sizes[-1], 1),
        embedding=nn.Embedding(offsets[-1] + sizes[-1], 80),
        deep=nn.Sequential(*hidden_layers([39 * 80, 1024, 512, 256, 128]), nn.Linear(128, 1)),
    )
    tables = [model.linear.weight, model.embedding.weight]
    for table in tables:
        nn.init.normal_(table, std=0.01)
    bias = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([*tables, bias, *model.deep.parameters()], lr=5e-4, eps=5e-8)

    def logits(indices, weights):
        vectors = model.embedding(indices) * weights[:, :, None]  # [B, F, D]
        pairs = (vectors.sum(1) ** 2 - (vectors**2).sum(1)).sum(1) / 2
        return (model.linear(indices)[:, :, 0] * weights).sum(1) + pairs + model.deep(vectors.flatten(1))[:, 0] + bias

    def epoch():
        model.deep.train()
        for rows in torch.randperm(len(data["train"][2])).split(1000):
            indices, weights, labels = (column[rows] for column in data["train"])
            loss = nn.functional.binary_cross_entropy_with_logits(logits(indices, weights), labels)
            loss = loss + 4e-5 * sum((table**2).sum() for table in tables)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def predict(split):
        model.deep.eval()
        with torch.no_grad():
            parts = zip(*(column.split(10000) for column in data[split][:2]))
            return torch.cat([logits(*part).sigmoid() for part in parts]).numpy().astype(np.float64)

    return best_epoch(5, epoch, predict, splits)


def hidden_layers(sizes):
    """Yield linear layers, each with ReLU and dropout after it."""
    from torch import nn

    for inputs, outputs in itertools.pairwise(sizes):
        layer = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        yield from (layer, nn.ReLU(), nn.Dropout(0.1))


MODELS = {
    "logistic_regression": logistic_regression,
    "lightgbm": lightgbm,
    "fuxictr": fuxictr,
    "deepctr_torch": deepctr_torch,
    "plain_pytorch": plain_pytorch,
}

if __name__ == "__main__":
    main()
