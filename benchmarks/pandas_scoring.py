# SPDX-License-Identifier: Apache-2.0
"""Raw rows scored as one would with pandas and onnxruntime, for benchmarks/scoring.py: a map for each column."""

import csv
import pathlib

import numpy as np
import onnxruntime
import pandas as pd

from src.package.package import Package
from src.package.runtime import ERRORS_ONLY
from src.preprocessing.vocabulary import OOV

CHUNK_ROWS = 50_000


class PandasScorer:
    """The vocabulary and the scales of a package as pandas takes them, and a model of encoded rows in onnxruntime."""

    def __init__(self, package_path: pathlib.Path, model_path: pathlib.Path):
        encoding = Package.load(package_path).encoding
        self.schema, self.identity = encoding.schema, encoding.identity
        table = pd.read_csv(encoding.vocabulary_path, sep="\t", na_filter=False, dtype={"value": str}, quoting=3)
        self.ids = {field: values.set_index("value")["id"] for field, values in table.groupby("field")}
        self.bin_ids = {name: _numbers(self.ids[name]) for name in self.schema.integer_names}
        self.session = start_session(model_path)

    def score(self, rows_path: pathlib.Path, scores_path: pathlib.Path) -> None:
        """Write a line with the row and its probability for each row, without a label, of a file."""
        integers, categories = self.schema.integer_names, self.schema.category_names
        types = {**dict.fromkeys(integers, np.float64), **dict.fromkeys(categories, str)}
        chunks = pd.read_csv(
            rows_path, sep="\t", names=list(types), dtype=types, chunksize=CHUNK_ROWS, quoting=csv.QUOTE_NONE
        )
        with open(scores_path, "w") as out:
            out.write("row,probability\n")
            for frame in chunks:
                scores = pd.DataFrame({"row": frame.index + 1, "probability": self.predict(frame)})
                scores.to_csv(out, header=False, index=False, float_format="%.8f")

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the probabilities, float32 [n], of rows."""
        integers = self.schema.integer_names
        columns = [self._bins(frame[name]) if name in integers else self._categories(frame[name])
                   for name in self.identity.sparse_fields]  # fmt: skip
        centers, divisors = np.array(self.identity.dense_scales).T
        numbers = frame[list(integers)].to_numpy()
        dense_values = np.nan_to_num((np.sign(numbers) * np.log1p(np.abs(numbers)) - centers) / divisors)
        inputs = {"sparse_ids": np.column_stack(columns), "dense_values": dense_values.astype(np.float32)}
        return self.session.run(None, inputs)[0].ravel()

    def _categories(self, column):
        ids = self.ids[column.name]
        return column.fillna("").map(ids).fillna(ids[OOV]).astype(np.int32)

    def _bins(self, column):
        ids = self.ids[column.name]
        buckets = np.floor(np.log(column.clip(lower=1)) ** 2)
        bins = column.where(~(column > 2), np.ceil(np.exp(np.sqrt(buckets))))
        found = bins.map(self.bin_ids[column.name]).fillna(ids[OOV])
        return found.where(column.notna(), ids.get("", ids[OOV])).astype(np.int32)


def start_session(path: pathlib.Path) -> onnxruntime.InferenceSession:
    """Return a session without warnings on the shape that the exporter states."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(str(path), options)


def _numbers(ids):
    """Return the ids of bins by number."""
    bins = ids.drop([OOV, ""], errors="ignore")
    return bins.set_axis(bins.index.astype(np.float64))
