# SPDX-License-Identifier: Apache-2.0
import collections
import functools
import math
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.deepfm import DeepFM, DeepFMConfig
from src.network.dropout import GeneratedDropout, MaskChoice, PooledDropout, create_dropout, draw_pool
from src.training.precision import Precision
from src.training.train_step import build_train_step
from tests.graphs import compiled_graph, compiled_operators, count_operators, result_shapes

pytestmark = pytest.mark.usefixtures("cpu")
ROWS, UNITS, KEEP_PROB = 2000, 128, 0.8


@pytest.mark.parametrize("keep_prob", [0.02, 0.5, 0.9, 0.999])
def test_the_fraction_of_units_that_are_kept_is_the_probability_and_the_mean_stays(keep_prob):
    dropout = PooledDropout(UNITS, keep_prob, 1, 0).set_train(True)
    outputs = dropout(Tensor(np.ones((ROWS, UNITS), np.float32)), Tensor([1], ms.int32)).asnumpy()
    deviation = math.sqrt(keep_prob * (1 - keep_prob) / outputs.size)
    assert (outputs > 0).mean() == pytest.approx(keep_prob, abs=5 * deviation)
    assert outputs.mean(dtype=np.float64) == pytest.approx(1, abs=5 * deviation / keep_prob)


def draw_masks(seed=3, layer=0, steps=range(1, 5), rows=ROWS):
    """Return the masks, bool [steps, rows, UNITS], True for units that are kept."""
    dropout = PooledDropout(UNITS, KEEP_PROB, seed, layer).set_train(True)
    ones = Tensor(np.ones((rows, UNITS), np.float32))
    outputs = np.stack([dropout(ones, Tensor([step], ms.int32)).asnumpy() for step in steps])
    assert set(np.unique(outputs)) == {np.float32(0), np.float32(1024 / 819)}
    return outputs > 0


masks = functools.cache(draw_masks)


def test_a_mask_is_a_function_of_seed_layer_and_step():
    kept = masks()
    assert np.array_equal(kept, draw_masks())
    assert np.array_equal(kept[2:], masks(steps=range(3, 5)))
    assert np.array_equal(kept[:, :10], masks(rows=10))


@pytest.mark.parametrize("other", [{"seed": 4}, {"layer": 1}, {"steps": range(5, 9)}])
def test_other_masks_are_unrelated(other):
    agreement = (masks() == masks(**other)).mean()
    expected = KEEP_PROB**2 + (1 - KEEP_PROB) ** 2
    assert abs(agreement - expected) < 5 * math.sqrt(expected * (1 - expected) / (4 * ROWS * UNITS))


def test_units_are_kept_independently_with_the_same_probability():
    centred = masks() - KEEP_PROB
    variance = KEEP_PROB * (1 - KEEP_PROB)
    count = centred.size
    assert abs(centred.mean()) < 4 * math.sqrt(variance / count)
    for a, b in (
        (centred[1:], centred[:-1]),  # steps
        (centred[:, 1:], centred[:, :-1]),  # rows
        (centred[:, :, 1:], centred[:, :, :-1]),  # units
        (centred[:, 1:, 1:] * centred[:, :-1, :-1], centred[:, 1:, :-1] * centred[:, :-1, 1:]),  # rectangles
    ):
        scale = np.sqrt((a**2).mean() * (b**2).mean())
        assert abs((a * b).mean()) / scale < 5 / math.sqrt(a.size)
    deviation = math.sqrt(variance / (count / UNITS))
    assert np.abs(centred.mean(axis=(0, 1))).max() < 5 * deviation


def test_the_mask_of_a_row_is_the_hash_worked_out_in_python_integers():
    pool = draw_pool(UNITS, KEEP_PROB, 3, 0) > 0
    key = int(np.random.default_rng([3, 0, 1]).integers(2**32))
    kept = masks(steps=(7,))[0]
    for row in (0, 1, 1024, 1999):
        bits = mix_in_python((row + 7 * 0x9E3779B9) * 0x7FEB352D & 0xFFFFFFFF)
        bits = mix_in_python((bits ^ key) * 0x7FEB352D & 0xFFFFFFFF)
        assert np.array_equal(kept[row], pool[bits >> 22])


@pytest.mark.parametrize("keep_prob, kept", [(0.8, 819), (0.5, 512), (0.0001, 1), (0.9999, 1023)])
def test_each_unit_is_kept_by_the_same_number_of_masks_and_has_its_mean(keep_prob, kept):
    pool = draw_pool(UNITS, keep_prob, 3, 0)
    assert pool.shape == (1024, UNITS)
    assert set(np.unique(pool)) == {0, np.float32(1024 / kept)}
    assert set((pool > 0).sum(axis=0)) == {kept}
    np.testing.assert_allclose(pool.mean(axis=0, dtype=np.float64), 1, rtol=1e-6)


def test_all_masks_of_a_layer_are_different():
    assert len(np.unique(draw_pool(UNITS, KEEP_PROB, 3, 0), axis=0)) == 1024


def test_the_rows_of_a_step_take_all_masks_alike():
    choices = MaskChoice(3, range(3))(Tensor([5], ms.int32), 102_400).asnumpy()
    assert choices.shape == (3, 102_400)
    for choice in choices:
        counts = np.bincount(choice, minlength=1024)  # a Poisson distribution of mean 100
        chi_squared = ((counts - 100) ** 2 / 100).sum()
        assert abs(chi_squared - 1023) < 5 * math.sqrt(2 * 1023)
    assert abs(np.corrcoef(choices) - np.eye(3)).max() < 5 / math.sqrt(102_400)


def mix_in_python(bits):
    signed = bits - 2**32 if bits >= 2**31 else bits  # the shift keeps the sign
    return ((bits ^ (signed >> 15)) & 0xFFFFFFFF) * 0x846CA68B & 0xFFFFFFFF


def test_outside_training_nothing_changes():
    dropout = PooledDropout(UNITS, KEEP_PROB, 3, 0).set_train(False)
    hidden = Tensor(np.random.default_rng(0).normal(size=(5, UNITS)).astype(np.float32))
    assert np.array_equal(dropout(hidden, Tensor([1], ms.int32)).asnumpy(), hidden.asnumpy())


@pytest.mark.parametrize("target, kind", [("CPU", PooledDropout), ("GPU", PooledDropout), ("Ascend", GeneratedDropout)])
def test_ascend_has_the_generator_and_the_others_the_hash(target, kind):
    assert type(create_dropout(target, UNITS, KEEP_PROB, 3, 0)) is kind


class SeedOf(nn.Cell):
    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout

    def construct(self, step):
        return self.dropout.seed_of(step)


def test_the_seed_of_a_mask_is_an_arithmetic_sequence_over_the_steps_that_never_overflows():
    dropout = GeneratedDropout(UNITS, KEEP_PROB, 3, 1)
    seed_of = SeedOf(dropout)
    first = int(np.random.default_rng([3, 1]).integers(0, 2**62))
    for step in (1, 2, 1000, 2**31 - 1):
        expected = first + step * 1_327_217_885
        assert expected < 2**63
        assert seed_of(Tensor([step], ms.int32)).asnumpy().tolist() == [expected]


def test_no_two_masks_have_the_same_seed():
    firsts = {
        (seed, layer): int(GeneratedDropout(UNITS, KEEP_PROB, seed, layer).first_seed)
        for seed in range(20)
        for layer in range(6)
    }
    seeds = {first + step * 1_327_217_885 for first in firsts.values() for step in range(1000)}
    assert len(seeds) == len(firsts) * 1000
    one_layer = {(firsts[0, 0] + step * 1_327_217_885) % 2**32 for step in range(100_000)}
    assert len(one_layer) == 100_000  # also where a kernel takes the low 32 bits only


def ascend_train_step(embedding_keep_prob, dense_dtype=ms.float32, **options):
    sizes = DeepFMConfig(20, 4, 3, 4, (6, 5), 0.9, embedding_keep_prob)
    return build_train_step(DeepFM(sizes, 3, dense_dtype, "Ascend"), 1e-3, 1e-8, 1e-4, **options)


def batch():
    random = np.random.default_rng(1)
    ids = random.integers(0, 20, (8, 4)).astype(np.int32)
    return [*map(Tensor, (ids, random.normal(size=(8, 3)).astype(np.float32), np.ones((8, 1), np.float32)))]


@pytest.fixture(scope="module")
def graph_for_ascend(cpu):
    """The lines of the graph of a step with every kind of dropout."""
    return compiled_graph(ascend_train_step(0.8), *batch())


def test_the_graph_for_ascend_has_one_generator_per_dropout_and_no_hash(graph_for_ascend):
    operators = count_operators(graph_for_ascend)
    assert not operators.keys() & {"RightShift", "BitwiseXor", "Less", "TensorMove", "Switch", "Partial", "AllReduce"}
    assert operators["DropoutExt"] == 3  # two hidden layers and the embeddings; dense values are spared
    assert operators["DropoutGradExt"] == 3


def test_the_graph_for_ascend_has_no_branch_with_any_option():
    half = Precision(ms.float16, 1024.0, checks_overflow=True)
    step = ascend_train_step(0.8, ms.float16, l2_on="batch", clip_norm=0.1, ema_decay=0.9, precision=half, block_size=4)
    operators = compiled_operators(step, *batch())
    assert not operators.keys() & {"RightShift", "BitwiseXor", "Switch", "Partial", "AllReduce"}
    assert operators["DropoutExt"] == 3


def test_the_gradient_of_each_dropout_for_ascend_applies_the_mask_of_its_forward_pass(graph_for_ascend):
    lines = graph_for_ascend
    outputs = dict(re.findall(r"^\s+(%\d+)\(.*?\) = TupleGetItem\((%\d+), I64\(1\)\)", "\n".join(lines), re.M))
    generators = {match[1] for match in map(re.compile(r"\s+(%\d+).* = PrimFunc_DropoutExt\(").match, lines) if match}
    applied = [
        match[1] for match in map(re.compile(r".* = PrimFunc_DropoutGradExt\(%\d+, (%\d+),").match, lines) if match
    ]
    assert (len(generators), len(applied)) == (3, 3)
    assert len({outputs[mask] for mask in applied} & generators) == 3


def test_the_host_computes_the_seeds_for_ascend_and_nothing_else(graph_for_ascend):
    on_the_host = [line for line in graph_for_ascend if 'primitive_target: "CPU"' in line]
    names = collections.Counter(re.search(r" = PrimFunc_(\w+)\(", line)[1] for line in on_the_host)
    assert names == {"AssignAdd": 1, "Cast": 1, "Mul": 1, "Add": 3}  # the step, the step's multiple, a seed per dropout


def test_the_gradient_of_input_dropout_looks_the_masks_up_again():
    class Loss(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dropout = PooledDropout(UNITS, KEEP_PROB, 3, 0)

        def construct(self, values, weights):
            hidden = self.dropout(values * weights, Tensor([1], ms.int32))
            return (hidden * hidden).sum()

    class Gradient(nn.Cell):
        def __init__(self):
            super().__init__()
            self.gradient = ms.grad(Loss().set_train())

        def construct(self, *inputs):
            return self.gradient(*inputs)

    values = Tensor(np.ones((ROWS, UNITS), np.float32))
    lines = compiled_graph(Gradient().set_train(), values, values)
    assert result_shapes(lines, "Gather") == [(ROWS, UNITS)] * 2
