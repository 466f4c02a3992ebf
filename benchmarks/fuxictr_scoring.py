# SPDX-License-Identifier: Apache-2.0
"""FuxiCTR's prediction of raw rows: python benchmarks/fuxictr_scoring.py FOLDER

benchmarks/scoring.py runs it in an environment of benchmarks/requirements-peers.txt.  FOLDER holds train.tsv and
rows.tsv, raw rows below a header.  It fits FuxiCTR's processor for Criteo to the first file; then, for each line that
it reads, it predicts the second and prints the seconds: polars reads the file, the processor encodes batches of 100,000
rows as FuxiCTR's own transform() does, but in memory, and a DeepFM of FuxiCTR's layers predicts them.
"""

import pathlib
import sys
import time

import numpy as np
import polars as pl
import torch
from fuxictr.datasets.criteo import CustomizedFeatureProcessor
from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel

INTEGERS = [f"I{number}" for number in range(1, 14)]
CATEGORIES = [f"C{number}" for number in range(1, 27)]
TRANSFORM_ROWS, PREDICT_ROWS = 100_000, 10_000
EMBEDDING_SIZE, HIDDEN_SIZES, LEAST_COUNT = 16, [128, 64], 11  # as the quick start has them


class DeepFM(BaseModel):
    """As in FuxiCTR's model zoo."""

    def __init__(self, feature_map, folder):
        super().__init__(feature_map, model_id="DeepFM", verbose=0, model_root=folder, metrics=["AUC"])
        self.embedding_layer = FeatureEmbedding(feature_map, EMBEDDING_SIZE)
        self.fm = FactorizationMachine(feature_map)
        self.mlp = MLP_Block(feature_map.sum_emb_out_dim(), HIDDEN_SIZES, output_dim=1, output_activation=None)
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs):
        features = self.get_inputs(inputs)
        embeddings = self.embedding_layer(features)
        return {"y_pred": self.output_activation(self.fm(features, embeddings) + self.mlp(embeddings.flatten(1)))}


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    processor = fit_processor(folder)
    processor.feature_map.default_emb_dim = EMBEDDING_SIZE
    model = DeepFM(processor.feature_map, str(folder))
    for _ in sys.stdin:
        start = time.perf_counter()
        score(processor, model, folder)
        print(time.perf_counter() - start, flush=True)


def fit_processor(folder):
    """Return FuxiCTR's processor with the columns of its Criteo example, fitted to train.tsv."""
    columns = [
        {"name": INTEGERS, "active": True, "dtype": "float", "type": "categorical", "preprocess": "convert_to_bucket"},
        {"name": CATEGORIES, "active": True, "dtype": "str", "type": "categorical"},
    ]
    for column in columns:
        column["fill_na"] = 0 if column["dtype"] == "float" else ""
    label = {"name": "label", "dtype": "float"}
    processor = CustomizedFeatureProcessor(columns, label, "rows", str(folder))
    processor.fit(read(processor, folder / "train.tsv"), min_categr_count=LEAST_COUNT)
    return processor


def read(processor, path):
    rows = pl.scan_csv(path, separator="\t", schema_overrides=processor.dtype_dict)
    return processor.preprocess(rows)


def score(processor, model, folder):
    """Predict rows.tsv, and write the probabilities."""
    frame = read(processor, folder / "rows.tsv").collect()
    probabilities = []
    for rows in frame.iter_slices(TRANSFORM_ROWS):
        batch = processor.transform({name: rows[name].to_numpy() for name in rows.columns})
        columns = {name: torch.as_tensor(np.asarray(values)) for name, values in batch.items()}
        starts = range(0, rows.height, PREDICT_ROWS)
        batches = ({name: column[at : at + PREDICT_ROWS] for name, column in columns.items()} for at in starts)
        probabilities.append(model.predict(batches))
    scores = pl.DataFrame({"row": np.arange(1, frame.height + 1), "probability": np.concatenate(probabilities)})
    scores.write_csv(folder / "fuxictr.csv", float_precision=8)


if __name__ == "__main__":
    main()
