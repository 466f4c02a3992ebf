# SPDX-License-Identifier: Apache-2.0
"""Generate the golden rows of a package: raw rows with known, unseen and missing values, none of the training data."""

import math

import numpy as np

from src.common.dense_encoding import DenseEncoding
from src.preprocessing.buckets import bucket_starts
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.raw_cells import join_cells
from src.preprocessing.value_counts import VALUE

ROW_COUNT, SEED = 100, 2020
UNSEEN, MISSING, KNOWN = range(3)  # kinds of cells
KIND_FRACTIONS = (0.1, 0.15, 0.75)
KNOWN_BUCKETS = 80  # up to 7,600
LARGEST_INTEGER = 2**20
MOST_OF_MAX = 4  # multiple of the largest number of the training rows
LARGEST_LOGARITHM = 20.0  # of a float that is not near the edge of a bucket


def generate_golden_rows(encoder: FeatureEncoder) -> list[str]:
    """Return raw rows without a label, as lines; the first has unseen values in each field, the second missing ones."""
    random = np.random.default_rng(SEED)
    schema = encoder.schema
    columns = {name: _draw_integers(encoder, name, random) for name in schema.integer_names}
    columns |= {name: _draw_floats(encoder, name, random) for name in schema.float_names}
    columns |= {name: _draw_categories(encoder, name, random) for name in schema.category_names}
    columns |= {name: _draw_lists(encoder, name, separator, random) for name, separator in schema.separators.items()}
    encoded = {name: [cell.encode() for cell in cells] for name, cells in columns.items()}
    return [line.decode() for line in join_cells(encoded, schema)]


def _draw_integers(encoder, name, random):
    """Return integers, most of them small, as text; each second one is the first of its bucket.

    None is so large that float32 would round the probability visibly: MAX squares what is far above the training rows.
    """
    starts = bucket_starts()[:KNOWN_BUCKETS]
    of_buckets = starts[np.minimum(random.geometric(0.05, ROW_COUNT), len(starts)) - 1]
    values = np.where(random.random(ROW_COUNT) < 0.5, of_buckets, random.integers(0, 30, ROW_COUNT))
    known = np.where(random.random(ROW_COUNT) < 0.05, -values, values)
    large = random.integers(2**16, LARGEST_INTEGER, ROW_COUNT)
    if encoder.dense_encoding is DenseEncoding.MAX:
        largest = math.ceil(min(MOST_OF_MAX * _scale_of(encoder, name).divisor, LARGEST_INTEGER))
        known, large = (integers.clip(-largest, largest) for integers in (known, large))
    return np.choose(_kinds(random), [large.astype(str), np.full(ROW_COUNT, ""), known.astype(str)]).tolist()


def _draw_floats(encoder, name, random):
    """Return floats as text, near the edges of the buckets if there are any, else near the middle of the column."""
    edges = np.array(encoder.bucket_edges.get(name) or [_middle_of(encoder, name)])
    chosen = edges[random.integers(0, len(edges), ROW_COUNT)]
    with np.errstate(over="ignore"):
        known = np.where(random.random(ROW_COUNT) < 0.5, chosen, chosen * random.uniform(0.9, 1.1, ROW_COUNT))
        large = np.abs(edges).max() * random.uniform(1, MOST_OF_MAX, ROW_COUNT) + 1
    largest = np.finfo(np.float64).max
    cells = [list(map(repr, values.clip(-largest, largest).tolist())) for values in (large, known)]
    return [(cells[0], [""] * ROW_COUNT, cells[1])[kind][row] for row, kind in enumerate(_kinds(random))]


def _middle_of(encoder, name):
    if name not in encoder.dense_names:
        return 1.0
    scale = _scale_of(encoder, name)
    if encoder.dense_encoding is DenseEncoding.MAX:
        return scale.divisor
    return math.copysign(math.expm1(min(abs(scale.center), LARGEST_LOGARITHM)), scale.center) or 1.0


def _scale_of(encoder, name):
    return encoder.dense_scales[encoder.dense_names.index(name)]


def _draw_lists(encoder, name, separator, random):
    """Return multi-valued cells, of up to one value more than the model uses."""
    values = iter(_draw_categories(encoder, name, random) * (encoder.list_lengths[name] + 1))
    counts = random.integers(0, encoder.list_lengths[name] + 1, ROW_COUNT, endpoint=True)
    counts[:2] = 1
    return [separator.join(next(values) for _ in range(count)) for count in counts.tolist()]


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
