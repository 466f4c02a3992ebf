# SPDX-License-Identifier: Apache-2.0
import dataclasses
import random

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from src.dataset_meta import DatasetMeta
from src.evaluation.recalibration import Recalibration
from src.export.onnx_graph import tensor_input
from src.export.raw_onnx import build_raw_model
from src.package.raw_encoding import RawEncoding
from src.preprocessing.buckets import bucket_starts
from src.preprocessing.raw_rows import parse_chunk
from tests.packages import raw_inputs

DENSE_DIM, SLOT_DIM = 3, 4  # of the fixture `dataset`
LARGEST = 2**63 - 1


def probability_network(sparse_count, dense_count):
    """Return a network whose probability is the first dense value or, if there is none, the first id."""
    inputs = [tensor_input("sparse_ids", TensorProto.INT32, "rows", sparse_count)]
    if dense_count:
        inputs.append(tensor_input("dense_values", TensorProto.FLOAT, "rows", dense_count))
    nodes = [
        helper.make_node("Cast", [inputs[-1].name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["floats", "first"], ["probabilities"], axis=1),
    ]
    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    outputs = [tensor_input("probabilities", TensorProto.FLOAT, "rows", 1)]
    return helper.make_model(helper.make_graph(nodes, "test", inputs, outputs, [first]))


def session(model, *more_outputs):
    """Return a session of a model that also gives the named tensors within it."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in more_outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(shown.SerializeToString(), options)


def encode_in_onnx(encoding, lines):
    """Return sparse_ids and dense_values as the graph makes them of raw values."""
    identity, schema = encoding.identity, encoding.schema
    model = build_raw_model(
        probability_network(len(identity.sparse_fields), len(identity.dense_fields)), encoding, None
    )
    joined = [node.output[0] for node in model.graph.node if node.op_type == "Concat" and node.input[-1] in
              ("sparse_ids", "dense_values")]  # fmt: skip
    inputs = raw_inputs(lines, len(schema.integer_names), len(schema.category_names), schema.categories_are_ids)
    sparse_ids, *dense_values = session(model, *joined).run(joined, inputs)
    return sparse_ids, dense_values[0] if dense_values else np.empty((len(lines), 0), np.float32)


def encode_in_polars(encoding, lines):
    """Return sparse_ids and dense_values as preprocessing makes them of text."""
    encoder = encoding.encoder()
    parsed = parse_chunk("".join(f"{line}\n" for line in lines).encode(), 0,
                         dataclasses.replace(encoder.schema, has_label=False))  # fmt: skip
    assert parsed.frame.height == len(lines)
    return encoder.encode(parsed.frame)


def extreme_integers():
    starts = bucket_starts().tolist()
    edges = [start + step for start in starts for step in (-1, 0, 1)]
    return [*range(-300, 20_000), *edges, *[-edge for edge in edges], LARGEST, -LARGEST]


def generated_lines(count, categories):
    dice = random.Random(7)
    integers = extreme_integers()
    return [
        "\t".join(
            [
                *("" if dice.random() < 0.1 else str(dice.choice(integers)) for _ in range(DENSE_DIM)),
                *(dice.choice(categories) for _ in range(SLOT_DIM)),
            ]
        )
        for _ in range(count)
    ]


CATEGORIES = [
    "",
    "05db9164",
    "a",
    "b",
    "é",
    "中文",
    "x y",
    '"q',
    "#",
    "unseen",
    "ffffffff",
    "A" * 300,
    "a\x00b",
    "rare1",
]


@pytest.mark.parametrize(
    ("encoding", "rows"), [("log+bin", 100_000), ("max", 10_000), ("log", 10_000), ("bucket", 10_000), ("bin", 10_000)]
)
def test_ids_and_values_of_generated_rows_are_those_of_preprocessing(make_dataset, encoding, rows):
    raw_encoding = RawEncoding.of_dataset(DatasetMeta.load(make_dataset(f"--dense_encoding={encoding}")))
    lines = generated_lines(rows, CATEGORIES)
    expected_ids, expected_values = encode_in_polars(raw_encoding, lines)
    ids, values = encode_in_onnx(raw_encoding, lines)
    assert ids.dtype == np.int32 and np.array_equal(ids, expected_ids)
    assert values.dtype == np.float32 and np.array_equal(values, expected_values)
    assert len(np.unique(ids)) > 40


def test_each_integer_has_its_exact_bucket(make_dataset):
    """A vocabulary of all buckets tells them apart, in the graph as in Python."""
    starts = bucket_starts().tolist()
    # The folder of train rows has each bucket more than three times.
    rows = [f"{number % 2}\t{value}\t\t\ta\ta\ta\ta" for number, value in enumerate([*starts, -1, -2, 0, 1, 2] * 12)]
    raw_encoding = RawEncoding.of_dataset(
        DatasetMeta.load(make_dataset("--dense_encoding=bucket", content="\n".join(rows)))
    )
    lines = [f"{value}\t\t\ta\ta\ta\ta" for value in extreme_integers()]
    expected, _ = encode_in_polars(raw_encoding, lines)
    ids, _ = encode_in_onnx(raw_encoding, lines)
    assert len(np.unique(ids[:, 0])) > len(starts)
    assert np.array_equal(ids, expected)


def test_a_field_without_a_kept_value_has_its_oov_id_only(make_dataset):
    """Each bucket of I2 and each value of C2 is rarer than the threshold."""
    starts = bucket_starts().tolist()
    rows = [f"{row % 2}\t1\t{starts[row // 2]}\t\ta\trare{row}\ta\ta" for row in range(600)]
    data = DatasetMeta.load(make_dataset("--dense_encoding=bucket", content="\n".join(rows)))
    raw_encoding = RawEncoding.of_dataset(data)
    vocabulary = raw_encoding.encoder().vocabulary
    assert all(vocabulary.kept(name).is_empty() for name in ("I2", "C2"))
    lines = ["1\t0\t\ta\t\ta\ta", "1\t7\t\ta\trare1\ta\ta", "1\t\t\ta\tunseen\ta\ta"]
    ids, _ = encode_in_onnx(raw_encoding, lines)
    assert np.array_equal(ids, encode_in_polars(raw_encoding, lines)[0])
    assert ids[:, 1].tolist() == [vocabulary.oov_id("I2")] * 3 and ids[:, 4].tolist() == [vocabulary.oov_id("C2")] * 3


def test_categories_that_are_ids_are_passed_on(make_dataset):
    rows = "\n".join(f"{row % 2}\t{row}\t\t7\t{row % 5}\t1\t{row}\t0" for row in range(1000))
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", "--dense_encoding=bucket", content=rows))
    raw_encoding = RawEncoding.of_dataset(data)
    lines = ["5\t\t7\t4\t1\t999\t0", "\t\t\t0\t0\t0\t0", "123456789\t1\t-1\t1\t2\t3\t4"]
    ids, _ = encode_in_onnx(raw_encoding, lines)
    expected, _ = encode_in_polars(raw_encoding, lines)
    assert np.array_equal(ids, expected)
    assert ids[0, 3:].tolist() == [4, 1, 999, 0]


def test_encoded_rows_follow_the_raw_rows(dataset):
    encoding = RawEncoding.of_dataset(DatasetMeta.load(dataset))
    sparse_count, dense_count = len(encoding.identity.sparse_fields), len(encoding.identity.dense_fields)
    model = session(build_raw_model(probability_network(sparse_count, dense_count), encoding, None))
    lines = ["3\t\t\ta\ta\ta\ta", "250\t\t\ta\ta\ta\ta"]
    raw = raw_inputs(lines, DENSE_DIM, SLOT_DIM)
    ids, values = encode_in_polars(encoding, lines)
    expected = model.run(None, raw)[0]
    both = model.run(None, {**raw, "sparse_ids": ids[:1], "dense_values": values[:1]})[0]
    assert both[:, 0].tolist() == [*expected[:, 0], values[0, 0]] and expected[0] != expected[1]
    no_rows = {name: column[:0] for name, column in raw.items()}
    only = model.run(None, {**no_rows, "sparse_ids": ids, "dense_values": values})[0]
    assert np.array_equal(only, expected)


@pytest.mark.parametrize(
    "recalibration",
    [
        Recalibration("platt", (-1.0, 2.0), (-1.7, 1.1)),
        Recalibration("isotonic", (-3.0, -1.0, 0.5, 2.0), (-4.5, -1.2, -0.9, 3.0)),
    ],
)
def test_the_recalibration_of_the_graph_is_that_of_python(dataset, recalibration):
    encoding = RawEncoding.of_dataset(DatasetMeta.load(dataset))
    sparse_count, dense_count = len(encoding.identity.sparse_fields), len(encoding.identity.dense_fields)
    model = session(build_raw_model(probability_network(sparse_count, dense_count), encoding, recalibration))
    probabilities = np.concatenate([np.linspace(0, 1, 10_001), 10.0 ** -np.arange(1, 12)]).astype(np.float32)
    values = np.zeros((len(probabilities), dense_count), np.float32)
    values[:, 0] = probabilities
    inputs = {name: column[:0] for name, column in raw_inputs(["1\t1\t1\ta\ta\ta\ta"], DENSE_DIM, SLOT_DIM).items()}
    ids = np.zeros((len(probabilities), sparse_count), np.int32)
    found = model.run(None, {**inputs, "sparse_ids": ids, "dense_values": values})[0]
    np.testing.assert_allclose(found[:, 0], recalibration.apply(probabilities), rtol=0, atol=1e-7)
