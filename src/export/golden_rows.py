# SPDX-License-Identifier: Apache-2.0
"""Generate the golden rows of a package: raw rows with known, unseen and missing values, none of the training data."""

import numpy as np

from src.preprocessing.buckets import bucket_starts
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.value_counts import VALUE

ROW_COUNT, SEED = 100, 2020
UNSEEN, MISSING, KNOWN = range(3)  # kinds of cells
KIND_FRACTIONS = (0.1, 0.15, 0.75)
KNOWN_BUCKETS = 80  # up to 7,600


def generate_golden_rows(encoder: FeatureEncoder) -> list[str]:
    """Return raw rows without a label, as lines; the first has unseen values in each field, the second missing ones."""
    random = np.random.default_rng(SEED)
    integers = [_draw_integers(random) for _ in encoder.schema.integer_names]
    categories = [_draw_categories(encoder, name, random) for name in encoder.schema.category_names]
    return ["\t".join(cells) for cells in zip(*integers, *categories)]


def _draw_integers(random):
    """Return integers, most of them small, as text; each second one is the first of its bucket.

    None is so large that float32 would round the probability visibly.
    """
    starts = bucket_starts()[:KNOWN_BUCKETS]
    of_buckets = starts[np.minimum(random.geometric(0.05, ROW_COUNT), len(starts)) - 1]
    values = np.where(random.random(ROW_COUNT) < 0.5, of_buckets, random.integers(0, 30, ROW_COUNT))
    known = np.where(random.random(ROW_COUNT) < 0.05, -values, values).astype(str)
    large = random.integers(2**16, 2**20, ROW_COUNT).astype(str)
    return np.choose(_kinds(random), [large, np.full(ROW_COUNT, ""), known]).tolist()


def _draw_categories(encoder, name, random):
    if encoder.schema.categories_are_ids:
        return random.integers(0, encoder.schema.largest_id, ROW_COUNT, endpoint=True).astype(str).tolist()
    kept = encoder.vocabulary.kept(name)[VALUE].to_list()
    known = [kept[index] for index in random.integers(0, len(kept), ROW_COUNT)] if kept else ["unseen"] * ROW_COUNT
    unseen = [f"unseen-{number:x}" for number in random.integers(0, 2**32, ROW_COUNT)]
    return [(unseen, [""] * ROW_COUNT, known)[kind][row] for row, kind in enumerate(_kinds(random))]


def _kinds(random):
    kinds = random.choice(3, ROW_COUNT, p=KIND_FRACTIONS)
    kinds[:2] = UNSEEN, MISSING
    return kinds
