# SPDX-License-Identifier: Apache-2.0
"""Slow references, row by row and pair by pair, written without the code that they judge."""

import functools
import math
from collections import Counter
from decimal import Decimal, InvalidOperation, localcontext

import numpy as np

MASK = 2**64 - 1


def splitmix64(seed, index):
    """The index-th output of SplitMix64, in Python integers."""
    state = (seed + (index + 1) * 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def parse_line(line, dense_dim, slot_dim, categories_are_ids=False, negative_label=0):
    """Return (row, None) or (None, reason) for a line of bytes without its newline."""
    cells = line.split(b"\t")
    if len(cells) != 1 + dense_dim + slot_dim:
        return None, "columns"
    label = parse_label(cells[0].decode("latin-1"), negative_label)
    if label is None:
        return None, "label"
    try:
        texts = [cell.decode().rstrip("\r") for cell in cells]
    except UnicodeDecodeError:
        return None, "encoding"
    integers = [parse_integer(text) for text in texts[1 : 1 + dense_dim]]
    if "bad" in integers:
        return None, "integer"
    categories = texts[1 + dense_dim :]
    if categories_are_ids:
        categories = [parse_integer(text) for text in categories]
        if any(not isinstance(value, int) or not 0 <= value < 2**31 for value in categories):
            return None, "id"
    return {"label": label, "integers": integers, "categories": categories}, None


def parse_label(text, negative_label=0):
    """The label as 0 or 1, None for none."""
    number, point, zeros = text.partition(".")
    if point and (zeros.strip("0") or not 1 <= len(zeros) <= 20):
        return None
    if negative_label == -1:
        return {"-1": 0, "1": 1, "+1": 1}.get(number)
    return {"0": 0, "1": 1}.get(number) if point else {"0": 0, "1": 1, "false": 0, "true": 1}.get(number.lower())


def parse_integer(text):
    """The integer, None for the empty text, "bad" for any other text."""
    if text == "":
        return None
    if any(character not in "0123456789+-.eE" for character in text):
        return "bad"
    try:
        number = Decimal(text)
    except InvalidOperation:
        return "bad"
    if not -(2**63) < number < 2**63 or number != number.to_integral_value():
        return "bad"
    return int(number)


def parse_file(content, dense_dim, slot_dim, categories_are_ids=False, negative_label=0):
    """Return the good rows as (line number from 0, row), and the malformed lines as (line number from 1, reason)."""
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    good, bad = [], []
    for number, line in enumerate(lines):
        row, reason = parse_line(line, dense_dim, slot_dim, categories_are_ids, negative_label)
        if row is None:
            bad.append((number + 1, reason))
        else:
            good.append((number, row))
    return good, bad


def split_rows(numbered_rows, seed, valid_ratio, test_ratio):
    """Return for each split its rows in the order of their keys."""
    splits = {"train": [], "valid": [], "test": []}
    for number, row in sorted(numbered_rows, key=lambda pair: splitmix64(seed, pair[0])):
        position = splitmix64(seed, number) / 2**64
        if position >= 1 - test_ratio:
            splits["test"].append(row)
        elif position >= 1 - test_ratio - valid_ratio:
            splits["valid"].append(row)
        else:
            splits["train"].append(row)
    return splits


@functools.cache
def bucket(value):
    """The bucket of an integer, as text; exact."""
    if value is None:
        return ""
    with localcontext() as context:
        context.prec = 60
        return str(math.floor(Decimal(value).ln() ** 2) if value > 2 else value)


@functools.cache
def bin_of(value):
    """The bin of an integer, as text: the smallest integer above 2 that has its bucket, found by bisection."""
    if value is None or value <= 2:
        return bucket(value)
    below, start = 2, value  # of another bucket, as that of 2 is not compared; of this one
    while start - below > 1:
        middle = (below + start) // 2
        below, start = (below, middle) if bucket(middle) == bucket(value) else (middle, start)
    return str(start)


def bucket_or_bin(value, dense_encoding):
    """The text that stands for an integer in the vocabulary of an encoding that has buckets or bins."""
    return bin_of(value) if "bin" in dense_encoding else bucket(value)


def has_buckets(dense_encoding):
    """Whether integers give sparse ids."""
    return "bin" in dense_encoding or "bucket" in dense_encoding


class Encoder:
    """Ids and dense values of a row, learned from train rows, by dictionaries.

    categories_are_ids: then those of the buckets come after the largest id of all_rows, the train rows by default.
    """

    def __init__(self, train_rows, dense_dim, dense_encoding, threshold, categories_are_ids=False, all_rows=None):
        self.dense_dim, self.dense_encoding = dense_dim, dense_encoding
        self.categories_are_ids = categories_are_ids
        rows = [self._sparse_values(row) for row in train_rows]
        self.field_count = len(rows[0])
        self.ids = {}
        known = [id_ for row in all_rows or train_rows for id_ in row["categories"]] if categories_are_ids else []
        self.first_id = max(known, default=-1) + 1
        next_id = self.first_id + self.field_count
        for field in range(self.field_count):
            counts = Counter(row[field] for row in rows)
            kept = [value for value in counts if counts[value] > threshold]
            for value in sorted(kept, key=lambda value: (-counts[value], value.encode())):
                self.ids[field, value] = next_id
                next_id += 1
        self.vocabulary_size = next_id
        self.scales = [self._scale([row["integers"][column] for row in train_rows]) for column in range(dense_dim)]

    def _sparse_values(self, row):
        integers = row["integers"] if has_buckets(self.dense_encoding) else []
        buckets = [bucket_or_bin(value, self.dense_encoding) for value in integers]
        return buckets if self.categories_are_ids else buckets + row["categories"]

    def _number(self, value):
        return value if self.dense_encoding == "max" else math.copysign(math.log1p(abs(value)), value)

    def _scale(self, values):
        numbers = [self._number(value) for value in values if value is not None]
        if not numbers:
            return 0.0, 1.0
        if self.dense_encoding != "max" and len(set(numbers)) == 1:
            return numbers[0], 1.0
        if self.dense_encoding == "max":
            return 0.0, max(abs(number) for number in numbers) or 1.0
        mean = sum(numbers) / len(numbers)
        return mean, math.sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers)) or 1.0

    def sparse_ids(self, row):
        ids = [self.ids.get(pair, self.first_id + pair[0]) for pair in enumerate(self._sparse_values(row))]
        return ids + row["categories"] if self.categories_are_ids else ids

    def dense_values(self, row):
        if self.dense_encoding in ("bin", "bucket"):
            return []
        return [
            0.0 if value is None else (self._number(value) - center) / divisor
            for value, (center, divisor) in zip(row["integers"], self.scales)
        ]


def auc(labels, scores):
    """The fraction of pairs of a click and a non-click that are in the right order, ties counted half."""
    scores = [float(score) for score in scores]  # numpy's numbers would take ten times as long
    clicks = [score for label, score in zip(labels, scores) if label == 1]
    others = [score for label, score in zip(labels, scores) if label == 0]
    wins = sum((click > other) + 0.5 * (click == other) for click in clicks for other in others)
    return wins / (len(clicks) * len(others))


def second_order(vectors):
    """The sum of the inner products of all pairs of vectors."""
    return sum(
        sum(a * b for a, b in zip(vectors[i], vectors[j]))
        for i in range(len(vectors))
        for j in range(i + 1, len(vectors))
    )


def deepfm_logit(weights, ids, values, hidden_count):
    """The logit of one row in float64.

    weights: float64 arrays by the names of src.deepfm.DeepFM's parameters.  ids: [S].  values: [N].
    """
    vectors = [value * weights["dense_embedding"][field] for field, value in enumerate(values)]
    vectors += [weights["embedding"][id_] for id_ in ids]
    logit = weights["bias"][0] + second_order(vectors) + sum(weights["linear"][id_][0] for id_ in ids)
    has_statistics = "statistics" in weights
    statistics = np.concatenate([weights["statistics"][id_] for id_ in ids]) if has_statistics else None
    if has_statistics:
        logit += statistics @ weights["statistic_weight"][:, 0]
    logit += sum(value * weights["dense_linear"][field][0] for field, value in enumerate(values))
    if hidden_count:
        sparse = [number for vector in vectors[len(values) :] for number in vector]
        hidden = weights["deep.first.weight"] @ sparse + weights["deep.first.bias"]
        for field, vector in enumerate(vectors[: len(values)]):
            hidden = hidden + vector @ weights["deep.dense_weight"][field]
        if has_statistics:
            hidden = hidden + statistics @ weights["deep.statistic_weight"]
        for layer in range(hidden_count):
            hidden = weights[f"deep.rest.{layer}.weight"] @ hidden.clip(0) + weights[f"deep.rest.{layer}.bias"]
        logit += hidden[0]
    return logit


def training_loss(weights, inputs, labels, hidden_count, l2_coef, l2_on="tables"):
    """The loss of a batch in float64, row by row; label -1 is padding."""
    sparse_ids, dense_values = inputs if len(inputs) == 2 else (inputs[0], [[]] * len(inputs[0]))
    losses, squares = [], 0.0
    for ids, values, label in zip(sparse_ids, dense_values, labels):
        if label != -1:
            logit = deepfm_logit(weights, ids, values, hidden_count)
            losses.append(math.log1p(math.exp(-logit if label == 1 else logit)))
            squares += sum((weights[name][id_] ** 2).sum() for name in ("linear", "embedding") for id_ in ids)
    names = [name for name in weights if name.endswith(("linear", "embedding"))]
    if l2_on == "batch":
        names = [name for name in names if name.startswith("dense")]
    total = sum((weights[name] ** 2).sum() for name in names)
    if l2_on == "batch":
        total += squares / len(losses)
    return sum(losses) / len(losses) + l2_coef / 2 * total
