# SPDX-License-Identifier: Apache-2.0
"""Estimates against the parameters of real networks, and against the peak memory of real runs."""

import dataclasses
import itertools

import pytest

from src.common.memory_estimate import NetworkSizes, parameter_count, prediction_bytes, table_bytes, training_bytes

LARGE, SMALL = (1024, 512, 256, 128), (64, 32)
# Peak resident memory in GiB of train.py on 2 CPU cores (MindSpore 2.10.0, 39 sparse and 13 dense fields), measured by
# getrusage.  Ids, embedding size, hidden sizes, batch size, l2_coef, clip_norm, ema_decay.
TRAININGS = [
    (100_260, 4, (8,), 1000, 8e-5, 0, 0, 0.58),
    (841_242, 16, LARGE, 16_000, 8e-5, 0, 0, 2.03),
    (841_242, 80, LARGE, 16_000, 8e-5, 0, 0, 4.26),
    (3_370_324, 16, LARGE, 16_000, 8e-5, 0, 0, 3.45),
    (100_260, 80, SMALL, 1000, 8e-5, 0, 0, 0.93),
    (1_000_260, 80, SMALL, 1000, 8e-5, 0, 0, 3.31),
    (5_000_260, 16, LARGE, 1000, 8e-5, 0, 0, 3.49),
    (5_000_260, 80, SMALL, 1000, 0, 0, 0, 9.66),
    (1_000_260, 80, SMALL, 1000, 8e-5, 0, 0.99, 4.89),
    (1_000_260, 80, SMALL, 1000, 8e-5, 1, 0, 4.53),
    (1_000_260, 80, SMALL, 1000, 0, 0, 0, 2.44),
]
# The same of eval.py; export.py took as much.
PREDICTIONS = [(1_000_260, 16, 1000, 0.91), (1_000_260, 80, 1000, 2.58), (1_000_260, 80, 16_000, 2.58)]


def test_training_holds_the_gradients_and_moments_of_the_tables():
    # 50 ids with 5 dimensions and one weight: 300 float32 of 4 bytes, of which training holds four copies.
    assert table_bytes(NetworkSizes(50, 4, 3, 5, (7, 6)), is_training=False) == 1200
    assert table_bytes(NetworkSizes(50, 4, 3, 5, (7, 6)), is_training=True) == 4800


def test_a_part_of_the_tables_has_its_columns_and_its_rows():
    # Of 51 ids with 5 dimensions each of two parts has 3 columns, and 26 rows of the table of width 1.
    sizes = NetworkSizes(51, 4, 3, 5, (7, 6))
    assert table_bytes(sizes, is_training=False, part_count=2) == 4 * (51 * 3 + 26)
    assert parameter_count(sizes) - parameter_count(sizes, 2) == 51 * 6 - (51 * 3 + 26)
    assert training_bytes(sizes, 10, 0, 0, 0) > training_bytes(sizes, 10, 0, 0, 0, part_count=2)


@pytest.mark.parametrize(
    "sizes", [(50, 4, 3, 5, (7, 6)), (50, 4, 0, 5, (7,)), (9, 1, 2, 1, (3, 3, 3)), (50, 4, 3, 5, (7, 6), (9, 2))]
)
def test_the_parameter_count_is_that_of_the_network(cpu, sizes):
    from src.deepfm import DeepFM, DeepFMConfig

    network = DeepFM(DeepFMConfig(*sizes[:5], list_lengths=sizes[5] if len(sizes) > 5 else ()))
    assert parameter_count(network.config) == sum(weight.size for weight in network.trainable_params())
    assert parameter_count(NetworkSizes(*sizes)) == parameter_count(network.config)
    with_statistics = DeepFM(dataclasses.replace(network.config, has_statistics=True))
    expected = sum(weight.size for weight in with_statistics.trainable_params())
    assert parameter_count(with_statistics.config) == expected > parameter_count(network.config)


@pytest.mark.parametrize("training", TRAININGS)
def test_the_estimate_of_a_training_is_close_to_the_measured_memory(training):
    ids, size, hidden_sizes, *settings, measured = training
    estimate = training_bytes(NetworkSizes(ids, 39, 13, size, hidden_sizes), *settings) / 2**30
    assert 0.8 < estimate / measured < 1.3


def test_the_check_of_float16_gradients_takes_memory():
    # 500,000 ids, 80 dimensions, hidden layers 128 and 64, batch of 500: 2.62 GiB with float16, 1.54 with float32.
    sizes = NetworkSizes(500_000, 26, 13, 80, (128, 64))
    assert 0.8 < training_bytes(sizes, 500, 1e-4, 0, 0, checks_overflow=True) / 2**30 / 2.62 < 1.3
    assert 0.8 < training_bytes(sizes, 500, 1e-4, 0, 0) / 2**30 / 1.54 < 1.3


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_estimate_of_a_prediction_is_close_to_the_measured_memory(prediction):
    ids, size, batch_size, measured = prediction
    estimate = prediction_bytes(NetworkSizes(ids, 39, 13, size, SMALL), batch_size) / 2**30
    assert 0.8 < estimate / measured < 1.3


def test_more_ids_dimensions_units_rows_and_options_take_more_memory():
    base = {"vocabulary_size": 1000, "sparse_field_count": 5, "dense_field_count": 2, "embedding_size": 4}
    sizes = [NetworkSizes(**base, hidden_sizes=(8,)), NetworkSizes(**base, hidden_sizes=(9,))]
    sizes += [NetworkSizes(**base | {name: value + 1}, hidden_sizes=(8,)) for name, value in base.items()]
    least = training_bytes(sizes[0], 10, 0, 0, 0)
    assert all(training_bytes(larger, 10, 0, 0, 0) > least for larger in sizes[1:])
    by_options = [training_bytes(sizes[0], 10, *options) for options in ((0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 0.9))]
    assert all(more > less for less, more in itertools.pairwise(by_options))
    assert training_bytes(sizes[0], 11, 0, 0, 0) > least


def test_each_column_of_a_multi_valued_field_takes_the_memory_of_an_embedding():
    # 10,000 rows: 19 more columns of ids of 16 dimensions.  Five such values are held in training, three in prediction.
    base = (1000, 4, 3, 16, (8,))
    one, many = NetworkSizes(*base, list_lengths=(1,)), NetworkSizes(*base, list_lengths=(20,))
    values = 10_000 * 19 * 16
    assert training_bytes(one, 10_000, 0, 0, 0) == training_bytes(NetworkSizes(*base), 10_000, 0, 0, 0)
    assert training_bytes(many, 10_000, 0, 0, 0) - training_bytes(one, 10_000, 0, 0, 0) == 4 * 5 * values
    assert prediction_bytes(many, 10_000) - prediction_bytes(one, 10_000) == 4 * 3 * values


def test_a_table_of_hashed_ids_takes_the_memory_worked_out_by_hand():
    # 2^31 ids with 8 + 1 float32 of 4 bytes are 72 GiB; weights, two moments and gradients alone are 288 GiB.
    sizes = NetworkSizes(2**31, 3, 0, 8, (2,))
    assert training_bytes(sizes, 2, 0, 0, 0) > 288 * 2**30
    assert prediction_bytes(sizes, 2) > 72 * 2**30
