# SPDX-License-Identifier: Apache-2.0
"""The ONNX file of a model package: from raw values to the click probability, in one graph.

Each integer column is an input int64 [rows, 1], where a missing value is -(2^63); each float column double [rows, 1],
where that is NaN; each category column string [rows, 1], or int64 where categories are ids; and each multi-valued one
string [rows, L], the first L values of a row that are not empty, then empty texts.  The output is probability float32
[rows, 1].

Encoded rows are accepted, too, for programs that encode faster than a graph can: sparse_ids int32 [encoded_rows, S] and
dense_values float32 [encoded_rows, N] are inputs with a default, no rows, and their probabilities follow those of the
raw rows.  Most hosts do not even show such inputs.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from src.common.dense_encoding import DenseEncoding
from src.common.encoded_rows import NO_VALUE
from src.evaluation.metrics import PROBABILITY_FLOOR
from src.evaluation.recalibration import Recalibration
from src.export.onnx_graph import DOUBLE, FLOAT, INT32, INT64, ML_DOMAIN, STRING, GraphBuilder, fuse_sums, tensor_input
from src.package.raw_encoding import RawEncoding
from src.package.runtime import DENSE_VALUES, PROBABILITY, SPARSE_IDS
from src.preprocessing.buckets import bucket_starts
from src.preprocessing.encoder import LARGEST_OF_FLOATS, FeatureEncoder
from src.preprocessing.raw_columns import MISSING_INTEGER
from src.preprocessing.value_counts import VALUE

ROWS, ENCODED_ROWS = "rows", "encoded_rows"
OPSET, ML_OPSET, IR_VERSION = 12, 2, 7
LARGEST_SMALL_INTEGER = 2  # up to here an integer is its own bucket
ERROR_OF_SQUARES = 1e-9  # more than that of log(x)^2 in float64, for x of 64 bits


def build_raw_model(
    network: onnx.ModelProto, encoding: RawEncoding, recalibration: Recalibration | None
) -> onnx.ModelProto:
    """Return the graph from raw values, in front of the network's, and the recalibration behind it.

    network: inputs sparse_ids and, if N > 0, dense_values; output probabilities.
    """
    encoder, identity = encoding.encoder(), encoding.identity
    front, back = GraphBuilder("rows"), GraphBuilder("recalibration")
    # Both parts add the logarithms of the integers: onnxruntime makes one of equal nodes.
    encoded = {SPARSE_IDS: _sparse_ids(front, encoder)}
    if identity.dense_fields:
        encoded[DENSE_VALUES] = _dense_values(front, encoder)
    joined = {name: front.add("Concat", tensor, name, axis=0) for name, tensor in encoded.items()}
    nodes = fuse_sums([_with_inputs(node, joined) for node in network.graph.node])
    probabilities = network.graph.output[0].name
    if recalibration is None:
        back.add("Identity", probabilities)
    else:
        _recalibrate(back, probabilities, recalibration)
    back.nodes[-1].output[0] = PROBABILITY
    graph = helper.make_graph(
        [*front.nodes, *nodes, *back.nodes],
        "deepfm",
        [*_raw_inputs(encoder), *_encoded_inputs(identity)],
        [tensor_input(PROBABILITY, FLOAT, "probabilities", 1)],
        [*_no_rows(identity), *front.initializers, *network.graph.initializer, *back.initializers],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="deepfm")
    helper.set_model_props(model, identity.to_metadata())
    return model


def _raw_inputs(encoder: FeatureEncoder) -> list[onnx.ValueInfoProto]:
    schema = encoder.schema
    category_type = INT64 if schema.categories_are_ids else STRING
    return [
        *(tensor_input(name, INT64, ROWS, 1) for name in schema.integer_names),
        *(tensor_input(name, DOUBLE, ROWS, 1) for name in schema.float_names),
        *(tensor_input(name, category_type, ROWS, 1) for name in schema.category_names),
        *(tensor_input(name, STRING, ROWS, encoder.list_lengths[name]) for name in schema.list_names),
    ]


def _encoded_inputs(identity):
    inputs = [tensor_input(SPARSE_IDS, INT32, ENCODED_ROWS, identity.id_count)]
    if identity.dense_fields:
        inputs.append(tensor_input(DENSE_VALUES, FLOAT, ENCODED_ROWS, len(identity.dense_fields)))
    return inputs


def _no_rows(identity):
    """Return the defaults of the encoded inputs."""
    tensors = [numpy_helper.from_array(np.empty((0, identity.id_count), np.int32), SPARSE_IDS)]
    if identity.dense_fields:
        empty = np.empty((0, len(identity.dense_fields)), np.float32)
        tensors.append(numpy_helper.from_array(empty, DENSE_VALUES))
    return tensors


def _with_inputs(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """Return a node whose inputs have other names."""
    renamed = onnx.NodeProto()
    renamed.CopyFrom(node)
    renamed.input[:] = [names.get(name, name) for name in node.input]
    return renamed


def _sparse_ids(graph: GraphBuilder, encoder: FeatureEncoder) -> str:
    """Add the ids of the raw values; return their name, int32 [rows, I]."""
    lists = [_list_ids(graph, encoder, name) for name in encoder.schema.list_names]
    ids = [*_bucket_ids(graph, encoder), *_category_ids(graph, encoder), *lists]
    return graph.cast(graph.add("Concat", *ids, axis=1), np.int32)


def _category_ids(graph, encoder):
    names = encoder.schema.category_names
    if encoder.schema.categories_are_ids:
        return names
    return [graph.encode_texts(name, *_ids_of(encoder, name)) for name in names]


def _list_ids(graph, encoder, name):
    """Add the ids of a multi-valued column; return their name, int64 [rows, L]."""
    ids, oov = _ids_of(encoder, name)
    missing = ids.pop("", oov)
    found = graph.encode_texts(name, {**ids, "": NO_VALUE}, oov)
    first_column = np.arange(encoder.list_lengths[name])[None] == 0
    is_without_values = graph.add(
        "Less", graph.add("ReduceMax", found, axes=[1], keepdims=1), graph.constant(0, np.int64)
    )
    is_missing = graph.add("And", is_without_values, graph.constant(first_column, bool))
    return graph.add("Where", is_missing, graph.constant(missing, np.int64), found)


def _bucket_ids(graph, encoder):
    """Add the ids of the buckets of all numbers; return their names, each int64 [rows, numbers]."""
    names = encoder.bucket_names
    integers = [name for name in names if name in encoder.schema.integer_names]
    floats = names[len(integers) :]
    ids = []
    if integers:
        joined = graph.add("Concat", *integers, axis=1)
        buckets = _buckets(graph, joined, are_bins=encoder.dense_encoding.has_bins)
        ids.append(_ids_of_columns(graph, encoder, integers, buckets))
    if floats:
        buckets = _concat(graph, [_quantiles(graph, encoder, name) for name in floats])
        ids.append(_ids_of_columns(graph, encoder, floats, buckets))
    return ids


def _quantiles(graph, encoder, name):
    """Add the buckets of a column of floats; return their name, int64 [rows, 1], MISSING_INTEGER for a missing one."""
    edges = np.array(encoder.bucket_edges[name], np.float64)[None]
    is_reached = graph.add("Not", graph.add("Less", name, graph.constant(edges, np.float64)))  # [rows, edges]
    buckets = graph.add("ReduceSum", graph.cast(is_reached, np.int64), axes=[1], keepdims=1)
    return graph.add("Where", graph.add("IsNaN", name), graph.constant(MISSING_INTEGER, np.int64), buckets)


def _ids_of_columns(graph, encoder, names, buckets):
    """Add the ids of buckets int64 [rows, fields], MISSING_INTEGER for missing values; return their name.

    Each bucket that any of the fields knows has a number, from 1 on; a table has the id of each number and field.
    """
    ids_of_fields, oov_ids = zip(*(_ids_of(encoder, name) for name in names))
    known = sorted(set().union(*ids_of_fields))
    table = [oov_ids, *([ids.get(bucket, oov) for ids, oov in zip(ids_of_fields, oov_ids)] for bucket in known)]
    numbers = {MISSING_INTEGER if bucket == "" else int(bucket): number for number, bucket in enumerate(known, start=1)}
    found = graph.encode_integers(buckets, numbers, 0)
    return graph.add("GatherElements", graph.constant(table, np.int64), found, axis=0)


def _ids_of(encoder: FeatureEncoder, field: str) -> tuple[dict[str, int], int]:
    """Return the id of each kept value of a field, and the OOV id."""
    kept = encoder.vocabulary.kept(field)
    return dict(zip(kept[VALUE], kept["id"])), encoder.vocabulary.oov_id(field)


def _buckets(graph: GraphBuilder, integers: str, *, are_bins: bool) -> str:
    """Add the exact buckets or bins of integers, int64 of any shape; see src.preprocessing.buckets.

    ln(1 + x)^2 is less than 1 above ln(x)^2, and above its error in float64 where something is added to it: it is in
    the bucket of x or in the next one, which a comparison with the first integer of that bucket decides.
    """
    starts = np.concatenate([[MISSING_INTEGER], bucket_starts()])  # starts[b]: the first integer of bucket b
    buckets = starts if are_bins else np.arange(len(starts))
    logarithms = _log1p_of_integers(graph, graph.cast(integers, np.float64))
    squares = graph.add("Mul", logarithms, logarithms)
    guesses = graph.cast(graph.add("Add", squares, graph.constant(ERROR_OF_SQUARES, np.float64)), np.int64)
    is_below = graph.add("Less", integers, graph.add("Gather", graph.constant(starts, np.int64), guesses, axis=0))
    buckets_below = np.concatenate([buckets[:1], buckets[:-1]])
    large = graph.add(
        "Where",
        is_below,
        graph.add("Gather", graph.constant(buckets_below, np.int64), guesses, axis=0),
        graph.add("Gather", graph.constant(buckets, np.int64), guesses, axis=0),
    )
    is_large = graph.add("Greater", integers, graph.constant(LARGEST_SMALL_INTEGER, np.int64))
    return graph.add("Where", is_large, large, integers)


def _dense_values(graph: GraphBuilder, encoder: FeatureEncoder) -> str:
    """Add the dense values of the numbers, those of floats clipped; return their name, float32 [rows, N]."""
    integers = [name for name in encoder.dense_names if name in encoder.schema.integer_names]
    floats = encoder.dense_names[len(integers) :]
    parts = []
    if integers:
        joined = graph.add("Concat", *integers, axis=1)
        is_missing = graph.add("Equal", joined, graph.constant(MISSING_INTEGER, np.int64))
        parts.append((graph.cast(joined, np.float64), is_missing, _log1p_of_integers))
    if floats:
        joined = graph.add("Concat", *floats, axis=1)
        parts.append((joined, graph.add("IsNaN", joined), _log1p))
    columns, masks, logarithms = zip(*parts)
    values, is_missing = _concat(graph, columns), _concat(graph, masks)
    if encoder.dense_encoding is not DenseEncoding.MAX:
        magnitudes = _concat(graph, [log1p(graph, column) for log1p, column in zip(logarithms, columns)])
        values = graph.add("Mul", graph.add("Sign", values), magnitudes)
    centers, divisors = zip(*((scale.center, scale.divisor) for scale in encoder.dense_scales))
    centred = graph.add("Sub", values, graph.constant(centers, np.float64))
    scaled = graph.add("Div", centred, graph.constant(divisors, np.float64))
    if floats:
        limits = np.repeat([np.inf, LARGEST_OF_FLOATS], [len(integers), len(floats)])
        scaled = graph.add("Min", scaled, graph.constant(limits, np.float64))
        scaled = graph.add("Max", scaled, graph.constant(-limits, np.float64))
    zero = graph.constant(0, np.float64)
    return graph.cast(graph.add("Where", is_missing, zero, scaled), np.float32)


def _concat(graph, columns):
    return graph.add("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]


def _log1p_of_integers(graph, values):
    """Add log(1 + |x|) of integers in float64; the sum is exact below 2^53, and near enough above."""
    return graph.add("Log", graph.add("Add", graph.add("Abs", values), graph.constant(1, np.float64)))


def _log1p(graph, values):
    """Add log(1 + |x|) of floats, exact for small ones, too.

    With u = 1 + |x| in float64 it is |x| * log(u) / (u - 1), as the errors of u cancel out, or |x| where u is 1.
    Source: Kahan; Goldberg, "What Every Computer Scientist Should Know About Floating-Point Arithmetic", 1991.
    """
    one = graph.constant(1, np.float64)
    magnitudes = graph.add("Abs", values)
    above = graph.add("Add", magnitudes, one)
    difference = graph.add("Sub", above, one)
    is_tiny = graph.add("Equal", difference, graph.constant(0, np.float64))
    divisor = graph.add("Where", is_tiny, one, difference)
    exact = graph.add("Mul", magnitudes, graph.add("Div", graph.add("Log", above), divisor))
    return graph.add("Where", is_tiny, magnitudes, exact)


def _recalibrate(graph: GraphBuilder, probabilities: str, recalibration: Recalibration) -> str:
    """Add a Recalibration of probabilities float32 [n, 1]; return the name of the result."""
    logits, targets = np.array(recalibration.logits), np.array(recalibration.targets)
    widths, slopes = np.diff(logits), np.diff(targets) / np.diff(logits)
    values = graph.cast(probabilities, np.float64)
    clipped = graph.add("Min", values, graph.constant(1 - PROBABILITY_FLOOR, np.float64))
    clipped = graph.add("Max", clipped, graph.constant(PROBABILITY_FLOOR, np.float64))
    others = graph.add("Sub", graph.constant(1, np.float64), clipped)
    logit = graph.add("Sub", graph.add("Log", clipped), graph.add("Log", others))
    # The map is a sum of one ramp for each piece; those at the ends have no limit.
    ramps = graph.add("Sub", logit, graph.constant(logits[:-1], np.float64))  # [n, pieces]
    lower, upper = np.zeros(len(widths)), widths.copy()
    lower[0], upper[-1] = -np.inf, np.inf
    ramps = graph.add("Max", ramps, graph.constant(lower, np.float64))
    ramps = graph.add("Min", ramps, graph.constant(upper, np.float64))
    product = graph.add("MatMul", ramps, graph.constant(slopes[:, None], np.float64))  # [n, 1]
    total = graph.add("Add", product, graph.constant(targets[0], np.float64))
    return graph.cast(graph.add("Sigmoid", total), np.float32)
