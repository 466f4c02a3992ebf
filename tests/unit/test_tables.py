# SPDX-License-Identifier: Apache-2.0
"""Tables in parts: how they are cut, and two real ranks that train with parts as they do with whole tables."""

import itertools

import numpy as np
import pytest

from src.distributed.process_group import ProcessGroup
from src.network.tables import Part, copy_part, is_table, table_owners
from tests.processes import results_of_two_ranks

SHAPES = {"linear": (7, 1), "embedding": (7, 5), "moment1.embedding": (7, 5), "average.linear": (7, 1)}


def cut(name, whole, part):
    own = np.zeros(part.shape(name, whole.shape), np.float32)
    copy_part(name, whole.shape, whole, Part(), own, part)
    return own


def numbers(shape):
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


def test_rows_and_columns_of_a_part_are_those_worked_out_by_hand():
    # 7 rows in three parts of 3, and 5 columns in parts of 2: what a table lacks at the end is 0.
    np.testing.assert_array_equal(cut("linear", numbers((7, 1)), Part(2, 3)), [[7], [0], [0]])
    np.testing.assert_array_equal(cut("average.embedding", numbers((2, 5)), Part(2, 3)), [[5, 0], [10, 0]])
    assert Part(3, 4).indices("embedding", (7, 5)) == range(5, 5)  # 4 parts of 2 columns: one has none


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("count", "other"), itertools.product((1, 2, 3, 5), repeat=2))
def test_a_table_survives_any_cut_and_any_other_cut_of_its_parts(name, count, other):
    whole = numbers(SHAPES[name])
    parts = [cut(name, whole, Part(index, count)) for index in range(count)]
    assert len({part.shape for part in parts}) == 1
    for index in range(other):
        own = np.zeros(Part(index, other).shape(name, whole.shape), np.float32)
        for source, part in enumerate(parts):
            copy_part(name, whole.shape, part, Part(source, count), own, Part(index, other))
        np.testing.assert_array_equal(own, cut(name, whole, Part(index, other)))


def test_moments_and_averages_of_tables_are_cut_and_no_other_parameter():
    names = ("dense_linear", "moment1.dense_embedding", "deep.first.weight", "bias", "global_step")
    assert all(map(is_table, SHAPES))
    assert not any(map(is_table, names))


def test_one_process_holds_whole_tables_and_says_so(capsys):
    assert table_owners(ProcessGroup(), 4, shard_embedding=True).count == 1
    assert (
        capsys.readouterr().out == "note: --shard_embedding=True: there is one process, so it holds the whole tables\n"
    )


# Two ranks train the same network with whole tables and with parts, by several recipes; D=5 and V=21 are odd.
RANK_PROGRAM = """
import dataclasses
import json
import numpy as np
import mindspore as ms
from mindspore import Tensor
from src.common.errors import UserError
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.device import set_seed, set_up
from src.network.tables import Part, copy_part, is_table, table_owners, table_shape
from src.training.precision import FLOAT32, Precision
from src.training.train_step import build_train_step
from tests.graphs import compiled_graph, count_operators, result_shapes

_, ranks = set_up("CPU", 0)
HALF = Precision(ms.float16, 1024.0, checks_overflow=True)
CONFIG = DeepFMConfig(21, 4, 3, 5, (6, 4), keep_prob=0.8, embedding_keep_prob=0.7)
LISTS = dataclasses.replace(CONFIG, list_lengths=(3,))
RECIPES = {
    "all": dict(l2_coef=1e-2, l2_on="batch", clip_norm=0.05, ema_decay=0.8),
    "half": dict(l2_coef=1e-2, clip_norm=0.02, precision=HALF),
    "lists": dict(config=LISTS, l2_coef=1e-2, l2_on="batch"),
}

def batch(step, config=CONFIG):
    random = np.random.default_rng([step, ranks.rank])
    ids = random.integers(0, 21, (8, config.id_count)).astype(np.int32)
    if config.list_lengths:
        ids[:, 3:][np.arange(3) >= random.integers(0, 4, (8, 1))] = -1  # from none to three values
    values = random.normal(0, 1, (8, 3)).astype(np.float32)
    labels = (random.random((8, 1)) < 0.4).astype(np.float32)
    return [Tensor(column) for column in (ids, values, labels)]

def weights_of(parameters):
    return {each.name: each.asnumpy().tolist() for each in parameters}

def create(part, l2_coef, precision=FLOAT32, config=CONFIG, **options):
    set_seed(1)
    network = DeepFM(config, 3 + ranks.rank, precision.dense_dtype, part=part)
    start = weights_of(network.trainable_params())
    random = np.random.default_rng(7)
    for each in network.trainable_params():
        shape = table_shape(each.name, 21, 5) if is_table(each.name) else each.shape
        whole = random.normal(0, 0.3, shape).astype(np.float32)
        own = whole
        if is_table(each.name):
            own = np.zeros(each.shape, np.float32)
            copy_part(each.name, shape, whole, Part(), own, part)
        each.set_data(Tensor(own))
    return build_train_step(network, 0.01, 1e-4, l2_coef, precision=precision, **options), start

def train(part, options):
    step, start = create(part, **options)
    losses = []
    for number in range(6):
        columns = batch(number, options.get("config", CONFIG))
        if options.get("precision") == HALF and number - 2 == ranks.rank:  # an overflow on each rank
            columns[1] = Tensor(np.where(np.arange(3) == 1, 1e30, columns[1].asnumpy()).astype(np.float32))
        losses.append(ranks.mean(step(*columns)))
    return {"start": start, "losses": losses, "weights": weights_of(step.weights),
            "averages": weights_of(getattr(step, "ema_weights", [])), "overflows": step.overflows()}

part = Part(ranks.rank, 2)
lines = compiled_graph(create(part, 1e-2)[0], *batch(0))
results = {name: {kind: train(*each) for kind, each in (("whole", (Part(), options)), ("part", (part, options)))}
           for name, options in RECIPES.items()}
results["graph"] = {name: result_shapes(lines, name) for name in ("AllGather", "AllReduce")}
results["operators"] = count_operators(lines)

def failure(action):
    try:
        action()
    except (OSError, UserError) as error:
        return [type(error).__name__, str(error)]

def fill_the_disk():
    if ranks.rank == 1:
        raise OSError(28, "No space left on device", "part-1")

results["failures"] = [
    failure(lambda: table_owners(ranks, 1, shard_embedding=True)),
    failure(lambda: ranks.all_do(fill_the_disk)),
    failure(lambda: ranks.all_do(lambda: None)),
]
print("results" + json.dumps(results))
"""


@pytest.fixture(scope="module")
def two_ranks():
    return results_of_two_ranks(RANK_PROGRAM)


def joined(two_ranks, recipe, key):
    """Return the weights of both ranks by name, with tables put together from their parts."""
    by_rank = [each[recipe]["part"][key] for each in two_ranks]
    weights = {}
    for name in by_rank[0]:
        arrays = [np.array(each[name]) for each in by_rank]
        if is_table(name):
            size = 21 if name.endswith("linear") else 5
            joint = np.concatenate(arrays, axis=0 if name.endswith("linear") else 1)
            padding = joint[size:] if name.endswith("linear") else joint[:, size:]
            assert not padding.any()
            weights[name] = joint[:size] if name.endswith("linear") else joint[:, :size]
        else:
            np.testing.assert_array_equal(*arrays)
            weights[name] = arrays[0]
    return weights


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["all", "half", "lists"])
def test_two_ranks_with_parts_train_as_with_whole_tables(two_ranks, recipe):
    for each in two_ranks:
        whole, part = each[recipe]["whole"], each[recipe]["part"]
        assert part["losses"] == pytest.approx(whole["losses"], rel=2e-6, nan_ok=recipe == "half")
        assert part["overflows"] == whole["overflows"] == (2 if recipe == "half" else 0)
    for key in ("weights", "averages"):
        expected, found = two_ranks[0][recipe]["whole"][key], joined(two_ranks, recipe, key)
        assert found.keys() == expected.keys()
        tolerance = 1e-3 if recipe == "half" else 2e-6
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance / 10, err_msg=name)


@pytest.mark.slow
def test_the_first_values_of_parts_are_those_of_the_whole_tables(two_ranks):
    expected = two_ranks[0]["all"]["whole"]["start"]
    for name, values in joined(two_ranks, "all", "start").items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.slow
def test_no_table_is_reduced_or_copied_and_vectors_are_sent_once_each_way(two_ranks):
    # Per rank: the ids of both, int32 [2 * 8, 4]; then for the 8 rows of the other, forwards and backwards, 4 weights
    # and 4 vectors of 3 of the 6 columns (5 and padding).  Each of two ranks gets as many bytes as it sends.
    for each in two_ranks:
        assert each["graph"]["AllGather"] == [[16, 4], *(2 * [[2, 8, 4, 1], [2, 8, 4, 3]])]
        assert "TensorMove" not in each["operators"]
        assert sorted(each["graph"]["AllReduce"]) == sorted(list(np.shape(weight)) for weight in dense_weights(each))


@pytest.mark.slow
def test_more_processes_than_columns_are_refused_and_a_failure_on_one_rank_ends_all(two_ranks):
    refusal = (
        "--shard_embedding=True: 2 processes cannot divide the columns of --embedding_size=1; use no more processes "
        "than columns"
    )
    message = "[Errno 28] No space left on device: 'part-1'"
    for each, kind in zip(two_ranks, ("UserError", "OSError")):
        assert each["failures"] == [["ConfigError", refusal], [kind, message], None]


def dense_weights(result):
    """Return all weights that are not tables."""
    return [weight for name, weight in result["all"]["part"]["weights"].items() if not is_table(name)]
