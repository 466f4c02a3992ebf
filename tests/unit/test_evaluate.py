# SPDX-License-Identifier: Apache-2.0
import mindspore.dataset as ds
import numpy as np
import pytest

import eval as eval_script
from src.checkpoint import DataIdentity, ModelFolder
from src.common.errors import UserError
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation, evaluate_split, predict
from src.evaluation.metrics import compute_metrics
from tests.plain_deepfm import PlainDeepFM
from tests.records import read_rows

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def data(dataset):
    return DatasetMeta.load(dataset)


def make_network(data, vocabulary_size=None):
    return DeepFM(DeepFMConfig(vocabulary_size or data.vocabulary_size, 7, 3, 2, (3,), keep_prob=0.5))


@pytest.mark.parametrize("batch_size", [50, 1000])
def test_every_row_is_predicted_in_the_order_of_the_records(data, dataset, batch_size):
    network = make_network(data)
    predictor = DeepFMPredict(network)
    network.set_train()
    batches_done = []
    labels, probabilities = predict(
        predictor, create_dataset(data, "test", batch_size), ProcessGroup(), "test",
        between_batches=lambda: batches_done.append(network.training),
    )  # fmt: skip
    sparse_ids, dense_values, expected = read_rows(dataset, "test")
    logits = PlainDeepFM(network, 1)(ms_tensor(sparse_ids), ms_tensor(dense_values)).asnumpy().ravel()
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert batches_done == [False] * -(-len(labels) // batch_size)  # without dropout
    assert network.training  # as before


def ms_tensor(array):
    import mindspore as ms

    return ms.Tensor(np.array(array))


def test_an_evaluation_has_the_metrics_of_its_predictions_and_a_line_for_the_log(data):
    predictor = DeepFMPredict(make_network(data))
    evaluation = evaluate_split("valid", predictor, create_dataset(data, "valid", 50), ProcessGroup())
    assert (evaluation.split, len(evaluation.labels)) == ("valid", data.splits["valid"].rows)
    assert evaluation.metrics == compute_metrics(evaluation.labels, evaluation.probabilities)
    assert evaluation.by_field == {}
    assert 0 < evaluation.seconds < 60
    rounded = Evaluation("valid", None, None, {"auc": 0.75, "log_loss": 0.5}, 0.25)
    assert rounded.log_text() == "AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s"


def test_ids_that_the_table_does_not_have_are_refused(data, dataset):
    size = data.vocabulary_size // 2
    ids = read_rows(dataset, "test")[0]
    row, column = np.argwhere(ids >= size)[0]
    assert row < 50  # in the first batch
    message = (
        f"test split, batch 1: row {row + 1}, column {column + 1}: the id {ids[row, column]} is not one of the {size}"
    )
    with pytest.raises(UserError, match=message):
        predict(DeepFMPredict(make_network(data, size)), create_dataset(data, "test", 50), ProcessGroup(), "test")


def test_eval_reads_the_split_and_its_metadata_once(data, dataset, tmp_path, monkeypatch):
    """Also with a report and --by_field, which need the ids of all rows."""
    network = make_network(data)
    folder = ModelFolder.create(tmp_path / "ckpt", network.config, DataIdentity.of_dataset(data))
    folder.save(network, 1, 20, {}, {})
    passes = count_calls(monkeypatch, ds.Dataset, "create_tuple_iterator")
    loads = count_calls(monkeypatch, DatasetMeta, "check_files")
    flags = [f"--dataset_path={dataset}", f"--checkpoint_path={folder.path}", "--batch_size=50", "--by_field=C3"]
    outputs = [f"--report_path={tmp_path / 'report.html'}", f"--eval_file_name={tmp_path / 'auc.log'}"]
    eval_script.main([*flags, *outputs, "--device_target=CPU"])
    assert (len(passes), len(loads)) == (1, 1)
    report = (tmp_path / "report.html").read_text()
    assert "<h3>C3</h3>" in report
    assert report.count("<figure>") in (3 + 6, 3 + 7)  # six fields are the most informative, with or without C3
    assert len((tmp_path / "auc.log").read_text().splitlines()) == 1


def count_calls(monkeypatch, cls, name):
    """Let a method note its calls in the list that is returned."""
    method, calls = getattr(cls, name), []

    def noting(self, *arguments, **others):
        calls.append(name)
        return method(self, *arguments, **others)

    monkeypatch.setattr(cls, name, noting)
    return calls
