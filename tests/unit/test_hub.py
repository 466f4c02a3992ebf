# SPDX-License-Identifier: Apache-2.0
import itertools
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindspore_hub_conf import create_network
from src.checkpoint import DataIdentity, ModelFolder
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from tests.conftest import ROOT

SIZES = {"vocabulary_size": 50, "sparse_field_count": 4, "dense_field_count": 3, "embedding_size": 2}


def test_the_import_reads_no_flags_and_prints_nothing():
    code = "import sys; sys.argv = ['x', '--no_such_flag']; import mindspore_hub_conf"
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_the_network_has_the_given_sizes_and_by_default_those_of_criteo(cpu):
    assert create_network("deepfm").config == DeepFMConfig(184_952, 26, 13, 80, (1024, 512, 256, 128))
    network = create_network("deepfm", **SIZES, hidden_sizes=(6,))
    assert network.config == DeepFMConfig(50, 4, 3, 2, (6,))
    logits = network(Tensor(np.zeros((5, 4), np.int32)), Tensor(np.ones((5, 3), np.float32)))
    assert logits.shape == (5, 1)


def test_other_names_are_not_implemented():
    with pytest.raises(NotImplementedError, match="wide_and_deep: the only network here is deepfm"):
        create_network("wide_and_deep")


@pytest.mark.parametrize("name", ["", "deepfm-1_2.ckpt"])
def test_a_checkpoint_of_train_py_is_loaded(seeded, dataset, tmp_path, name):
    network = DeepFM(DeepFMConfig(**SIZES, hidden_sizes=(6, 5)))
    folder = ModelFolder.create(tmp_path / "ckpt", network.config, DataIdentity.of_dataset(DatasetMeta.load(dataset)))
    folder.save(network, 1, 2, {}, {})
    inputs = Tensor(np.arange(20, dtype=np.int32).reshape(5, 4)), Tensor(np.ones((5, 3), np.float32))
    found = create_network("deepfm", ckpt_file=tmp_path / "ckpt" / name)(*inputs)
    np.testing.assert_array_equal(found.asnumpy(), network.set_train(False)(*inputs).asnumpy())


def test_data_of_another_vocabulary_are_refused_if_they_are_named(seeded, dataset, make_dataset, tmp_path):
    sizes = {**SIZES, "vocabulary_size": DatasetMeta.load(dataset).vocabulary_size, "sparse_field_count": 7}
    network = DeepFM(DeepFMConfig(**sizes, hidden_sizes=(6,)))
    folder = ModelFolder.create(tmp_path, network.config, DataIdentity.of_dataset(DatasetMeta.load(dataset)))
    folder.save(network, 1, 2, {}, {})
    assert create_network("deepfm", ckpt_file=tmp_path, dataset_path=dataset).config == network.config
    with pytest.raises(UserError, match="was trained on other data than"):
        create_network("deepfm", ckpt_file=tmp_path, dataset_path=make_dataset("--threshold=4"))


def test_a_checkpoint_of_the_model_zoo_is_loaded(cpu, tmp_path):
    sizes = [(3 + 4) * 2, 6, 5, 4, 3, 1]
    weights = {"W_l2": np.ones((53, 1)), "V_l2": np.ones((53, 2))}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        weights |= {
            f"dense_layer_{layer}.weight": np.ones((inputs, outputs)),
            f"dense_layer_{layer}.bias": np.ones(outputs),
        }
    parameters = [{"name": name, "data": Tensor(value.astype(np.float32))} for name, value in weights.items()]
    ms.save_checkpoint(parameters, str(tmp_path / "old.ckpt"))
    network = create_network("deepfm", ckpt_file=tmp_path / "old.ckpt", dense_field_count=3)
    assert network.config == DeepFMConfig(**SIZES, hidden_sizes=(6, 5, 4, 3))
