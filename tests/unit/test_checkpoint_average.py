# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest
from mindspore import Tensor

from src.checkpoint import ModelFolder, find_checkpoint
from src.checkpoint_average import average_config, average_weights, find_model
from src.common.errors import UserError
from src.data_identity import DataIdentity
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.evaluation.recalibration import Recalibration
from src.evaluation.record import EvaluationRecord
from src.export.package import write_package
from src.network.tables import Part
from src.package.model import load_model
from src.package.raw_encoding import RawEncoding
from tests.checkpoints import save_random_checkpoint
from tests.list_records import draw_lists
from tests.packages import golden_lines

pytestmark = pytest.mark.usefixtures("seeded")
SIZES = [(4, (6, 5)), (2, (3, 7)), (5, (4, 4))]  # of three members


def create(config, seed):
    network = DeepFM(config)
    for parameter in network.get_parameters():
        deviation, seen = (1, 0) if parameter.name == "statistics" else (0.5, seed)
        random = np.random.default_rng([seen, len(parameter.name), parameter.size])
        parameter.set_data(Tensor(random.normal(0, deviation, parameter.shape).astype(np.float32)))
    return network


@pytest.mark.parametrize(
    ("dense_count", "depth", "list_lengths", "has_statistics"),
    [(3, 2, (), False), (0, 2, (), True), (3, 1, (3, 2), True), (3, 0, (), True), (1, 0, (2,), False)],
)
def test_the_logit_of_an_average_is_the_mean_of_the_logits(dense_count, depth, list_lengths, has_statistics):
    configs = [
        DeepFMConfig(20, 4, dense_count, size, hidden[:depth], 0.7, 0.9, list_lengths, has_statistics)
        for size, hidden in SIZES
    ]
    networks = [create(config, seed) for seed, config in enumerate(configs, 1)]
    random = np.random.default_rng(2)
    ids = random.integers(0, 20, (50, 4 - len(list_lengths))).astype(np.int32)
    ids = np.hstack([ids, draw_lists(random, 50, list_lengths, 20)]) if list_lengths else ids
    inputs = [Tensor(ids)]
    if dense_count:
        inputs.append(Tensor(random.normal(size=(50, dense_count)).astype(np.float32)))
    logits = [network.set_train(False)(*inputs).asnumpy() for network in networks]
    average = DeepFM(average_config(configs))
    weights = average_weights(
        [{each.name: each.asnumpy() for each in net.get_parameters()} for net in networks], configs
    )
    assert {parameter.name for parameter in average.get_parameters()} == weights.keys()
    for parameter in average.get_parameters():
        assert parameter.shape == weights[parameter.name].shape, parameter.name
        parameter.set_data(Tensor(weights[parameter.name].astype(np.float32)))
    found = average.set_train(False)(*inputs).asnumpy()
    assert np.std(np.hstack(logits), axis=1).min() > 0.01  # the members differ
    np.testing.assert_allclose(found, np.mean(logits, axis=0), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def folders(cpu, dataset, tmp_path_factory):
    """The MindRecord folder and three folders of checkpoints of it."""
    path, data = tmp_path_factory.mktemp("members"), DatasetMeta.load(dataset)
    for seed in (1, 2, 3):
        save_random_checkpoint(path / str(seed), data, seed)
    return data, [path / str(seed) for seed in (1, 2, 3)]


def test_checkpoints_with_commas_between_them_are_averaged_and_packaged(folders, tmp_path):
    data, paths = folders
    checkpoint = find_model(",".join(map(str, paths)))
    assert checkpoint.path == paths[0] / "deepfm-1_2.ckpt and 2 more"
    checkpoint.check_data(data)
    (tmp_path / "package").mkdir()
    network, encoding = checkpoint.load_network(), RawEncoding.of_dataset(data)
    write_package(tmp_path / "package", network, encoding, None, {"valid": None, "test": None})
    rows = golden_lines(data)
    logits = np.mean([load_model(path).explain(rows).logits for path in paths], axis=0)  # float64
    expected = 1 / (1 + np.exp(-logits))
    for model in (load_model(tmp_path / "package"), load_model(",".join(map(str, paths)))):
        np.testing.assert_allclose(model.predict(rows), expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(model.explain(rows).probabilities, expected, rtol=0, atol=1e-6)


def test_an_average_has_a_record_of_its_own(folders, tmp_path):
    _, paths = folders
    average, first = find_model(f"{paths[0]},{paths[1]}"), find_checkpoint(paths[0])
    recalibration = Recalibration("isotonic", (-3.0, 2.0), (-2.5, 1.0))
    EvaluationRecord(None, recalibration, 100).save(average.path, average.identity, is_fitted=True)
    EvaluationRecord({"auc": 0.7}, None, 0).save(first.path, first.identity, is_fitted=False)
    assert EvaluationRecord.load(average.path, average.identity).recalibration == recalibration
    assert EvaluationRecord.load(first.path, first.identity).recalibration is None
    other = find_model(f"{paths[0]},{paths[2]}")
    assert EvaluationRecord.load(other.path, other.identity) == EvaluationRecord()


def test_one_path_is_the_checkpoint_itself_also_with_a_comma_in_its_name(folders, tmp_path):
    data, paths = folders
    assert find_model(str(paths[1])) == find_checkpoint(paths[1])
    save_random_checkpoint(tmp_path / "a,b", data)
    assert find_model(str(tmp_path / "a,b")) == find_checkpoint(tmp_path / "a,b")
    with pytest.raises(UserError, match=re.escape(f"--checkpoint_path={tmp_path}/no: no such file or folder")):
        find_model(f"{paths[0]},{tmp_path}/no")


def save_other(folder, config, identity):
    ModelFolder.create(folder, config, identity).save(DeepFM(config), 1, 2, {}, {})
    return str(folder)


def test_networks_that_have_no_average_are_refused(folders, make_dataset, tmp_path):
    data, paths = folders
    config, identity = find_checkpoint(paths[0]).folder.network_config, DataIdentity.of_dataset(data)
    sizes = config.vocabulary_size, config.sparse_field_count, config.dense_field_count, 4
    deeper = save_other(tmp_path / "deeper", DeepFMConfig(*sizes, (16, 8, 4)), identity)
    with pytest.raises(UserError, match=r"has 2 hidden layers and .*deeper.* 3; an average needs as many in all$"):
        find_model(f"{paths[0]},{deeper}")
    knowing = save_other(tmp_path / "knowing", DeepFMConfig(*sizes, (16, 8), has_statistics=True), identity)
    with pytest.raises(UserError, match=r"only one has --value_statistics=True; they have no average$"):
        find_model(f"{paths[0]},{knowing}")
    other_data = DatasetMeta.load(make_dataset("--threshold=5"))
    other = save_random_checkpoint(tmp_path / "other", other_data).folder.path
    with pytest.raises(UserError, match=r"was trained on other data than .*: .* differ$"):
        find_model(f"{paths[0]},{other}")
    with pytest.raises(UserError, match="an average of checkpoints needs whole tables; leave out --shard_embedding"):
        find_model(f"{paths[0]},{paths[1]}").load_network(part=Part(0, 2))


def test_a_damaged_member_is_found(folders, tmp_path):
    data, paths = folders
    damaged = save_random_checkpoint(tmp_path / "damaged", data)
    damaged.path.write_bytes(damaged.path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"deepfm-1_2\.ckpt is damaged or truncated"):
        find_model(f"{paths[0]},{tmp_path / 'damaged'}").load_network()
