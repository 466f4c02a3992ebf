# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops

from src.deepfm import DeepFMPredict
from src.training.precision import FLOAT32, LOSS_SCALE, Precision
from src.training.train_step import LossNetwork, build_train_step, init_bias_to_base_rate
from tests import oracles
from tests.adam import Adam
from tests.graphs import compiled_operators
from tests.networks import make_network, weights_of
from tests.numpy_deepfm import NumpyDeepFM
from tests.processes import results_of_two_ranks

pytestmark = pytest.mark.usefixtures("seeded")
LABELS = np.array([1, 0, 0, 1, -1, 0, 1, -1], np.float32).reshape(8, 1)
HALF = Precision(ms.float16, LOSS_SCALE, checks_overflow=True)


def as_arrays(inputs):
    return [column.asnumpy() for column in inputs]


@pytest.mark.parametrize(("l2_coef", "l2_on"), [(0.0, "tables"), (0.01, "tables"), (0.01, "batch")])
@pytest.mark.parametrize("shape", [(3, 4, (6, 5)), (0, 4, (6,))])
def test_loss_agrees_with_the_row_by_row_reference(shape, l2_coef, l2_on):
    network, inputs = make_network(*shape)
    loss_network = LossNetwork(network, l2_coef, l2_on).set_train(False)
    weights = weights_of(network)
    expected = oracles.training_loss(weights, as_arrays(inputs), LABELS.ravel(), len(shape[2]), l2_coef, l2_on)
    assert loss_network(*inputs, Tensor(LABELS)).asnumpy().item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_padding_has_no_log_loss():
    network, inputs = make_network(3, 4, (6,))
    assert LossNetwork(network, 0.0)(*inputs, Tensor(np.full((8, 1), -1, np.float32))).asnumpy().item() == 0.0


def test_gradient_agrees_with_finite_differences():
    network, inputs = make_network(2, 3, (4,), deviation=0.3)
    parameters = network.trainable_params()
    gradient_of = ms.grad(LossNetwork(network, 0.02).set_train(False), grad_position=None, weights=parameters)
    gradients = {
        parameter.name: gradient.asnumpy()
        for parameter, gradient in zip(parameters, gradient_of(*inputs, Tensor(LABELS)))
    }
    weights, arrays, step = weights_of(network), as_arrays(inputs), 1e-5
    for name, values in weights.items():
        for index in list(np.ndindex(values.shape))[::5]:
            losses = []
            for sign in (1, -1):
                moved = values.copy()
                moved[index] += sign * step
                losses.append(oracles.training_loss({**weights, name: moved}, arrays, LABELS.ravel(), 1, 0.02))
            expected = (losses[0] - losses[1]) / (2 * step)
            assert gradients[name][index] == pytest.approx(expected, rel=1e-3, abs=1e-5), (name, index)


def test_first_adam_step_moves_each_weight_by_the_rate():
    # In Adam's first step the moments cancel: the update is learning_rate * gradient / (|gradient| + epsilon').
    network, inputs = make_network(3, 4, (6,))
    gradient_of = ms.grad(
        LossNetwork(network, 0.0).set_train(False), grad_position=None, weights=network.trainable_params()
    )
    before = {parameter.name: parameter.asnumpy().copy() for parameter in network.trainable_params()}
    gradients = dict(zip(before, gradient_of(*inputs, Tensor(LABELS))))
    build_train_step(network, learning_rate=0.01, epsilon=1e-12, l2_coef=0.0)(*inputs, Tensor(LABELS))
    for parameter in network.trainable_params():
        gradient = gradients[parameter.name].asnumpy()
        clear = np.abs(gradient) > 1e-5
        moved = (parameter.asnumpy() - before[parameter.name])[clear]
        np.testing.assert_allclose(moved, -0.01 * np.sign(gradient[clear]), rtol=1e-2, err_msg=parameter.name)
        assert clear.any()


def test_training_lowers_the_loss():
    network, inputs = make_network(3, 4, (6,), deviation=0.1)
    train_step = build_train_step(network, learning_rate=0.01, epsilon=5e-8, l2_coef=1e-4)
    losses = [train_step(*inputs, Tensor(LABELS)).asnumpy().item() for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]


def test_gradients_are_scaled_down_to_the_largest_norm():
    # Adam divides by the gradient's size, so the first moment, 0.1 * gradient after one step, is compared instead.
    moments = {}
    for clip_norm in (0.0, 0.01, 1e6):
        network, inputs = make_network(3, 4, (6,), deviation=0.3)
        train_step = build_train_step(network, 0.01, 5e-8, 0.0, clip_norm=clip_norm)
        train_step(*inputs, Tensor(LABELS))
        moments[clip_norm] = np.concatenate([moment.asnumpy().ravel() for moment in train_step.optimizer.moment1])
    norm = np.linalg.norm(moments[0.0])
    assert norm > 0.002
    np.testing.assert_allclose(moments[0.01], moments[0.0] * 0.001 / norm, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(moments[1e6], moments[0.0], rtol=1e-6)


def test_half_precision_gives_nearly_the_gradients_of_single_precision():
    moments = {}
    for dtype, precision in ((ms.float32, FLOAT32), (ms.float16, HALF)):
        network, inputs = make_network(3, 4, (6, 5), deviation=0.3, dense_dtype=dtype)
        train_step = build_train_step(network, 0.01, 5e-8, 1e-4, precision=precision)
        train_step(*inputs, Tensor(LABELS))
        moments[dtype] = [moment.asnumpy() for moment in train_step.optimizer.moment1]
    different = 0
    for half, single in zip(moments[ms.float16], moments[ms.float32]):
        np.testing.assert_allclose(half, single, rtol=2e-2, atol=2e-3 * np.abs(single).max())
        different += (half != single).any()
    assert different > 4  # so it is another precision


def test_the_loss_scale_keeps_gradients_that_float16_has_not():
    # With labels met to 1e-6 the gradients of the last weights are some 1e-7; float16 has multiples of 6e-8 there.
    def last_moments(dtype, precision):
        network, inputs = make_network(3, 4, (6, 5), deviation=0.1, dense_dtype=dtype)
        network.bias.set_data(Tensor([-14.0], ms.float32))
        train_step = build_train_step(network, 0.0, 5e-8, 0.0, precision=precision)
        train_step(*inputs, Tensor(np.zeros((8, 1), np.float32)))
        moments = {moment.name: moment.asnumpy() for moment in train_step.optimizer.moment1}
        return moments["moment1.deep.rest.1.weight"]

    single = last_moments(ms.float32, FLOAT32)
    assert 0 < np.abs(single).max() < 1e-6
    np.testing.assert_allclose(last_moments(ms.float16, HALF), single, rtol=1e-2, atol=1e-10)
    difference = np.abs(last_moments(ms.float16, FLOAT32) - single).max()
    assert difference > 0.1 * np.abs(single).max()


def test_half_precision_lowers_the_loss_as_single_precision_does():
    losses = {}
    for dtype, precision in ((ms.float32, FLOAT32), (ms.float16, HALF)):
        network, inputs = make_network(3, 4, (6,), deviation=0.1, dense_dtype=dtype)
        train_step = build_train_step(network, learning_rate=0.01, epsilon=5e-8, l2_coef=1e-4, precision=precision)
        losses[dtype] = [train_step(*inputs, Tensor(LABELS)).asnumpy().item() for _ in range(40)]
    np.testing.assert_allclose(losses[ms.float16], losses[ms.float32], atol=2e-2)
    assert losses[ms.float16][-1] < 0.5 * losses[ms.float16][0]


def batch_of(inputs, kind):
    """Return a batch whose gradients are finite, or hold infinities or NaN."""
    ids, values = inputs
    values = values.asnumpy().copy()
    values[2, 1] = {"finite": 0.5, "infinite": 1e30, "NaN": np.nan}[kind]
    return ids, Tensor(values), Tensor(LABELS)


@pytest.mark.parametrize(("clip_norm", "ema_decay"), [(0.0, 0.0), (0.01, 0.5)])
def test_a_step_that_overflows_is_one_without_gradients(clip_norm, ema_decay):
    network, inputs = make_network(3, 4, (6,), deviation=0.3)
    weights = network.trainable_params()
    gradient_of = ms.grad(LossNetwork(network, 1e-3), grad_position=None, weights=weights)
    train_step = build_train_step(network, 0.01, 5e-8, 1e-3, clip_norm=clip_norm, ema_decay=ema_decay, precision=HALF)
    adam = Adam([weight.asnumpy() for weight in weights], rate=0.01, epsilon=5e-8)
    averages = list(adam.weights)
    for step, kind in enumerate(("infinite", "finite", "finite", "NaN", "infinite", "finite"), start=1):
        batch = batch_of(inputs, kind)
        gradients = [gradient.asnumpy().astype(np.float64) for gradient in gradient_of(*batch)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        assert np.isfinite(norm) == (kind == "finite")
        if kind != "finite":
            gradients = [np.zeros_like(gradient) for gradient in gradients]
        elif clip_norm:
            assert norm > clip_norm
            gradients = [gradient * clip_norm / norm for gradient in gradients]
        adam.update(gradients)
        decay = min(ema_decay, step / (step + 10))
        averages = [decay * old + (1 - decay) * new for old, new in zip(averages, adam.weights)]
        train_step(*batch)
        expected = {"weight": adam.weights, "moment1": adam.first_moments, "moment2": adam.second_moments}
        actual = {"weight": weights, "moment1": train_step.optimizer.moment1, "moment2": train_step.optimizer.moment2}
        if ema_decay:
            expected["average"], actual["average"] = averages, train_step.ema_weights
        for name, arrays in expected.items():
            for one, other in zip(actual[name], arrays):
                np.testing.assert_allclose(one.asnumpy(), other, rtol=1e-4, atol=1e-6, err_msg=f"{step} {one.name}")
    assert train_step.optimizer.global_step.asnumpy().item() == step
    assert train_step.overflows() == 3


def test_an_overflow_of_float16_is_noticed():
    network, inputs = make_network(3, 4, (6, 5), dense_dtype=ms.float16)
    fine = network.embedding.asnumpy().copy()
    train_step = build_train_step(network, 0.01, 5e-8, 0.0, precision=HALF)
    network.embedding.set_data(Tensor(np.full_like(fine, 1e5)))  # float16 ends at 65504
    train_step(*inputs, Tensor(LABELS))
    assert all((moment.asnumpy() == 0).all() for moment in train_step.optimizer.moment1)
    network.embedding.set_data(Tensor(fine))
    train_step(*inputs, Tensor(LABELS))
    assert all((moment.asnumpy() != 0).any() for moment in train_step.optimizer.moment1)


def count_operators(l2_coef=1e-4, l2_on="tables", dense_dtype=ms.float32, target="CPU", **options):
    network, inputs = make_network(3, 4, (6, 5), dense_dtype=dense_dtype, target=target)
    return compiled_operators(build_train_step(network, 0.01, 5e-8, l2_coef, l2_on, **options), *inputs, Tensor(LABELS))


@pytest.fixture(scope="module")
def plain(cpu):
    return count_operators()


@pytest.fixture(scope="module")
def with_all_options(cpu):
    return count_operators(l2_on="batch", dense_dtype=ms.float16, clip_norm=0.1, ema_decay=0.9, precision=HALF)


def test_a_step_is_one_graph_without_a_branch(plain, with_all_options):
    assert with_all_options["IsFinite"] == plain["Adam"] == 12
    assert not {"Switch", "Partial", "AllReduce"} & (plain.keys() | with_all_options.keys())


def test_bfloat16_is_neither_scaled_nor_checked():
    plain, counts = (count_operators(dense_dtype=dtype, target="Ascend") for dtype in (ms.float32, ms.bfloat16))
    assert counts["MatMul"] == plain["MatMul"]
    assert {name for name in counts if counts[name] > plain[name]} == {"Cast"}


def test_a_step_computes_no_power_and_copies_no_table(plain, with_all_options):
    assert not {"Square", "PowTensorScalar", "TensorMove"} & plain.keys()
    assert with_all_options["Square"] == 12  # of the gradients, for their norm
    assert "PowTensorScalar" not in with_all_options


# Each of two ranks takes steps with its half of the rows; in the second one the gradients of rank 1 are infinite, in
# the third one NaN, and in the last one most rows of rank 1 are padding.
RANK_PROGRAM = """
import json
import numpy as np
import mindspore as ms
from mindspore import Tensor
from src.distributed.device import set_up
from src.training.precision import Precision
from src.training.train_step import build_train_step
from tests.graphs import compiled_operators
from tests.networks import make_network
from tests.numpy_deepfm import NumpyDeepFM

_, ranks = set_up("CPU", 0)
network, inputs = make_network(3, 4, (6,), deviation=0.3)
HALF = Precision(ms.float32, 1024.0, checks_overflow=True)
train_step = build_train_step(network, 0.01, 5e-8, 1e-3, clip_norm=0.05, precision=HALF)
ids, values = (column.asnumpy()[4 * ranks.rank :][:4] for column in inputs)
results = {"steps": []}
for spoilt, padding in ((0, 0), (1e30, 0), (np.nan, 0), (0, 0), (0, 3)):
    dense, labels = values.copy(), np.array([[1], [0], [0], [1]], np.float32)
    if ranks.rank == 1:
        dense[2, 1] += spoilt
        labels[:padding] = -1
    batch = Tensor(ids), Tensor(dense), Tensor(labels)
    if "operators" not in results:
        results["operators"] = compiled_operators(train_step, *batch)
    train_step(*batch)
    results["steps"].append([weight.asnumpy().tolist() for weight in network.trainable_params()])
print("results" + json.dumps(results))
"""


@pytest.fixture(scope="module")
def two_ranks():
    return results_of_two_ranks(RANK_PROGRAM)


@pytest.mark.slow
def test_two_ranks_exchange_nothing_but_their_gradients(two_ranks):
    network, _ = make_network(3, 4, (6,))
    for each in two_ranks:
        collectives = {name: count for name, count in each["operators"].items() if "Reduce" in name or "All" in name}
        collectives = {name: count for name, count in collectives.items() if name not in ("ReduceSum", "ReduceAll")}
        assert collectives == {"AllReduce": len(network.trainable_params())}
        assert "Switch" not in each["operators"]


@pytest.mark.slow
def test_two_ranks_take_the_mean_of_their_gradients_and_agree_on_an_overflow(two_ranks):
    assert two_ranks[0]["steps"] == two_ranks[1]["steps"]
    network, inputs = make_network(3, 4, (6,), deviation=0.3)
    weights = network.trainable_params()
    gradient_of = ms.grad(LossNetwork(network, 1e-3), grad_position=None, weights=weights)
    adam = Adam([weight.asnumpy() for weight in weights], rate=0.01, epsilon=5e-8)

    def gradients_of(rows, labels):
        batch = [Tensor(column.asnumpy()[rows]) for column in inputs]
        gradients = gradient_of(*batch, Tensor(np.array(labels, np.float32).reshape(-1, 1)))
        return [gradient.asnumpy().astype(np.float64) for gradient in gradients]

    labels = [1, 0, 0, 1]
    for step, kind in enumerate(("complete", "overflow", "overflow", "complete", "padded")):
        if kind == "overflow":
            gradients = [np.zeros_like(weight) for weight in adam.weights]
        elif kind == "complete":  # as one process with all rows
            gradients = gradients_of(slice(0, 8), labels + labels)
        else:  # the mean over the four rows of rank 0 and the only row of rank 1
            halves = gradients_of(slice(0, 4), labels), gradients_of(slice(7, 8), labels[3:])
            gradients = [(one + other) / 2 for one, other in zip(*halves)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        adam.update([gradient * min(1, 0.05 / max(norm, 1e-9)) for gradient in gradients])
        for weight, actual, expected in zip(weights, two_ranks[0]["steps"][step], adam.weights):
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6, err_msg=f"{step} {weight.name}")
            ops.assign(weight, Tensor(expected.astype(np.float32)))  # set_data() would not reach a compiled ms.grad()


def test_averaged_weights_are_the_moving_average_of_the_weights_and_do_not_change_the_training():
    network, inputs = make_network(3, 4, (6,), deviation=0.3)
    same_network, _ = make_network(3, 4, (6,), deviation=0.3)
    train_step = build_train_step(network, 0.01, 5e-8, 1e-4, ema_decay=0.5)
    without_average = build_train_step(same_network, 0.01, 5e-8, 1e-4)
    weights, averages = network.trainable_params(), train_step.ema_weights
    assert len(weights) == len(averages)
    assert all(average.name == f"average.{weight.name}" for weight, average in zip(weights, averages))
    expected = [weight.asnumpy().astype(np.float64) for weight in weights]
    for step in range(1, 20):
        train_step(*inputs, Tensor(LABELS))
        without_average(*inputs, Tensor(LABELS))
        decay = min(0.5, step / (step + 10))  # 0.5 from the 10th step on
        expected = [decay * old + (1 - decay) * new.asnumpy() for old, new in zip(expected, weights)]
    for weight, average, value in zip(weights, averages, expected):
        np.testing.assert_allclose(average.asnumpy(), value, rtol=1e-4, atol=1e-6)
        assert not np.allclose(average.asnumpy(), weight.asnumpy(), rtol=1e-4, atol=1e-6)
    for weight, same in zip(weights, same_network.trainable_params()):
        assert np.array_equal(weight.asnumpy(), same.asnumpy())


def test_the_bias_starts_at_the_base_rate():
    network, inputs = make_network(3, 4, (6,), deviation=0.0)
    init_bias_to_base_rate(network, base_rate=0.25)
    for parameter in network.trainable_params():
        if parameter.name != "bias":
            parameter.set_data(parameter * 0)
    assert network(*inputs).sigmoid().asnumpy() == pytest.approx(0.25)


def test_a_keep_rate_gives_the_gradients_of_the_sampled_rows_and_predictions_for_all():
    # Plain training on the sampled rows, with a bias that is higher by log(1 / r), and then p = q / (q + (1 - q) / r).
    keep_rate, l2_coef = 0.2, 0.01
    network, inputs = make_network(3, 4, (6, 5), deviation=0.3)
    weights, (ids, values) = weights_of(network), as_arrays(inputs)
    parameters = network.trainable_params()
    loss_network = LossNetwork(network, l2_coef, negative_keep_rate=keep_rate).set_train(False)
    gradients = ms.grad(loss_network, grad_position=None, weights=parameters)(*inputs, Tensor(LABELS))
    plain = NumpyDeepFM({**weights, "bias": weights["bias"] - np.log(keep_rate)}, 2, l2_coef)
    loss, expected = plain.loss_and_gradients(ids, values, LABELS.ravel())
    assert loss_network(*inputs, Tensor(LABELS)).asnumpy().item() == pytest.approx(loss, rel=1e-5)
    for parameter, gradient in zip(parameters, gradients):
        np.testing.assert_allclose(gradient.asnumpy(), expected[parameter.name], rtol=1e-4, atol=1e-6)
    sampled = 1 / (1 + np.exp(-plain.logits(ids, values)))
    corrected = sampled / (sampled + (1 - sampled) / keep_rate)
    predictions = DeepFMPredict(network)(*inputs).asnumpy().ravel()
    np.testing.assert_allclose(predictions, corrected, rtol=1e-5)


@pytest.mark.parametrize(("base_rate", "keep_rate"), [(0.25, 1.0), (0.5, 0.25), (0.9, 0.001)])
def test_the_first_prediction_is_the_click_rate_of_all_rows(base_rate, keep_rate):
    # Of a rows with a click and b without, b * keep_rate are kept: base_rate = a / (a + b * keep_rate).
    clicks, others = base_rate, (1 - base_rate) / keep_rate
    network, _ = make_network(3, 4, (6,))
    init_bias_to_base_rate(network, base_rate, keep_rate)
    bias = network.bias.asnumpy().item()
    assert 1 / (1 + np.exp(-bias)) == pytest.approx(clicks / (clicks + others), rel=1e-5)


def test_the_l2_of_the_weights_of_fields_is_a_multiple_of_that_of_the_embeddings():
    network, inputs = make_network(3, 4, (6, 5))
    weights = weights_of(network)
    for l2_on in ("tables", "batch"):
        losses = [
            LossNetwork(network, l2_coef, l2_on, l2_linear_factor=factor).set_train(False)(*inputs, Tensor(LABELS))
            for l2_coef, factor in ((0.0, 1.0), (0.02, 0.0), (0.02, 0.1))
        ]
        log_loss, of_embeddings, all_terms = (loss.asnumpy().item() for loss in losses)
        dense = (weights["dense_linear"] ** 2).sum()
        sparse = (weights["linear"] ** 2).sum()
        if l2_on == "batch":
            real = LABELS.ravel() != -1
            sparse = (weights["linear"][inputs[0].asnumpy()[real]] ** 2).sum() / real.sum()
        assert all_terms - of_embeddings == pytest.approx(0.001 * (dense + sparse), rel=1e-3)
        assert of_embeddings - log_loss > 0.01
