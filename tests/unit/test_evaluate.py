# SPDX-License-Identifier: Apache-2.0
import ast

import mindspore.dataset as ds
import numpy as np
import pytest

import eval as eval_script
from src.checkpoint import DataIdentity, ModelFolder
from src.common.errors import UserError
from src.common.output_paths import prepared
from src.config import load_config
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.distributed.device import set_seed
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import Evaluation, evaluate_split, predict
from src.evaluation.fit_recalibration import Fit, fit_recalibration
from src.evaluation.metrics import chance_calibration_error, compute_metrics, roc_auc
from src.evaluation.recalibration import Method, Recalibration
from src.evaluation.record import EvaluationRecord
from src.evaluation.slices import FieldSlices
from tests import oracles
from tests.ranks import TwoAlike
from tests.records import read_rows, read_weights

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
    labels, probabilities, _ = predict(
        predictor, create_dataset(data, "test", batch_size), ProcessGroup(), "test",
        between_batches=lambda: batches_done.append(network.training),
    )  # fmt: skip
    sparse_ids, dense_values, expected = read_rows(dataset, "test")
    weights = {name: parameter.asnumpy().astype(np.float64) for name, parameter in network.parameters_dict().items()}
    logits = np.array([oracles.deepfm_logit(weights, *row, 1) for row in zip(sparse_ids, dense_values)])
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert batches_done == [False] * -(-len(labels) // batch_size)  # without dropout
    assert network.training  # as before


@pytest.fixture
def weighted(weighted_dataset):
    return DatasetMeta.load(weighted_dataset)


def test_weights_come_with_the_predictions_and_weigh_the_metrics(weighted, weighted_dataset):
    predictor = DeepFMPredict(make_network(weighted))
    recalibration = Recalibration(Method.PLATT, (-1.0, 1.0), (-3.0, 1.0))
    dataset = create_dataset(weighted, "test", 50)
    evaluation = evaluate_split("test", predictor, dataset, ProcessGroup(), recalibration=recalibration)
    labels, probabilities, weights = predict(predictor, dataset, ProcessGroup(), "test")
    np.testing.assert_array_equal(labels, read_rows(weighted_dataset, "test")[2])
    np.testing.assert_array_equal(weights, read_weights(weighted_dataset, "test"))
    np.testing.assert_array_equal(evaluation.weights, weights)
    assert set(weights.tolist()) == {0, 0.5, 1, 7.25}
    assert evaluation.before == compute_metrics(labels, probabilities, weights)
    assert evaluation.metrics == compute_metrics(labels, evaluation.probabilities, weights)
    assert evaluation.weight == weights.sum()


def test_the_weights_of_both_ranks_are_in_the_order_of_their_rows(weighted):
    predictor, dataset = DeepFMPredict(make_network(weighted)), create_dataset(weighted, "test", 50)
    columns, slices = (
        predict(predictor, dataset, ProcessGroup(), "test"),
        FieldSlices(weighted, TwoAlike(), by_field="C3", informative=True),
    )
    evaluation = evaluate_split("test", predictor, dataset, TwoAlike(), slices=slices)
    for name, column in zip(("labels", "probabilities", "weights"), columns):
        np.testing.assert_array_equal(getattr(evaluation, name), np.tile(column, 2))
    assert evaluation.metrics["auc"] == pytest.approx(roc_auc(*columns), abs=1e-12)
    assert evaluation.by_field["C3"]["rows"].sum() == 2 * np.count_nonzero(columns[2])  # all of few values


def test_an_evaluation_has_the_metrics_of_its_predictions_and_a_line_for_the_log(data):
    predictor = DeepFMPredict(make_network(data))
    evaluation = evaluate_split("valid", predictor, create_dataset(data, "valid", 50), ProcessGroup())
    assert (evaluation.split, len(evaluation.labels)) == ("valid", data.splits["valid"].rows)
    assert evaluation.metrics == compute_metrics(evaluation.labels, evaluation.probabilities)
    assert (evaluation.by_field, evaluation.weights, evaluation.weight) == ({}, None, None)
    assert 0 < evaluation.seconds < 60
    rounded = Evaluation("valid", None, None, {"auc": 0.75, "log_loss": 0.5}, 0.25)
    assert rounded.log_text() == "AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s"


def test_a_recalibration_changes_the_probabilities_and_keeps_the_metrics_before_it(data):
    predictor = DeepFMPredict(make_network(data))
    evaluations = [
        evaluate_split("valid", predictor, create_dataset(data, "valid", 50), ProcessGroup(), recalibration=each)
        for each in (None, Recalibration(Method.PLATT, (-1.0, 1.0), (-3.0, 1.0)))
    ]
    plain, recalibrated = evaluations
    logits = 2 * np.log(plain.probabilities / (1 - plain.probabilities)) - 1
    np.testing.assert_allclose(recalibrated.probabilities, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    assert recalibrated.metrics == compute_metrics(plain.labels, recalibrated.probabilities)
    assert (plain.before, recalibrated.before) == (None, plain.metrics)


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
    """Also with a report and --by_field, which need the ids of all rows, and with the importance of fields."""
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
    # Six fields are the most informative, with or without C3; then importance and field pairs.
    assert report.count("<figure>") in (3 + 6 + 2, 3 + 7 + 2)
    assert f"Measured\non {data.splits['test'].rows} rows of the test split." in report
    assert len((tmp_path / "auc.log").read_text().splitlines()) == 1


def count_calls(monkeypatch, cls, name):
    """Let a method note its calls in the list that is returned."""
    method, calls = getattr(cls, name), []

    def noting(self, *arguments, **others):
        calls.append(name)
        return method(self, *arguments, **others)

    monkeypatch.setattr(cls, name, noting)
    return calls


@pytest.fixture(scope="module")
def network(dataset):
    """A network that tells clicks from other rows, a little."""
    data = DatasetMeta.load(dataset)
    for seed in range(20):
        set_seed(seed)
        network = make_network(data)
        labels, probabilities, _ = predict(
            DeepFMPredict(network), create_dataset(data, "valid", 50), ProcessGroup(), "valid"
        )
        if roc_auc(labels, probabilities) > 0.55:
            return network
    raise AssertionError("none of the seeds gives such a network")


@pytest.fixture
def checkpoint(data, network, tmp_path):
    folder = ModelFolder.create(tmp_path / "ckpt", network.config, DataIdentity.of_dataset(data))
    folder.save(network, 1, 20, {}, {})
    return folder.checkpoints[0]


@pytest.fixture
def evaluate(dataset, checkpoint, tmp_path, capsys):
    """Run eval.py with more flags; return what it prints and the metrics of its last line."""

    def run_eval(*flags):
        fixed = [f"--dataset_path={dataset}", f"--checkpoint_path={checkpoint.path}", "--batch_size=50"]
        outputs = ["--report_path=none", f"--eval_file_name={tmp_path / 'auc.log'}", "--device_target=CPU"]
        eval_script.main([*fixed, *outputs, *flags])
        printed = capsys.readouterr().out
        return printed, ast.literal_eval(printed.splitlines()[-1])["result"]

    return run_eval


def predictions_of(checkpoint, data, split):
    predictor = DeepFMPredict(checkpoint.load_network())
    return predict(predictor, create_dataset(data, split, 50), ProcessGroup(), split)[:2]


def without_time(result):
    return {name: value for name, value in result.items() if name != "eval_time"}


def test_eval_fits_a_recalibration_stores_it_and_applies_it_from_then_on(data, checkpoint, evaluate, tmp_path):
    plain_text, plain = evaluate()
    assert not {"recalibration", "before"} & set(plain_text.split())
    assert EvaluationRecord.load(checkpoint.path, checkpoint.sha256) == EvaluationRecord(named(plain))
    fitted_text, fitted = evaluate("--fit_calibration=True")
    fit = fit_recalibration(*predictions_of(checkpoint, data, "valid"))
    labels, probabilities = predictions_of(checkpoint, data, "test")
    recalibrated = fit.recalibration.apply(probabilities)
    expected = compute_metrics(labels, recalibrated)
    assert named(fitted) == expected
    assert fitted["before_recalibration"] == named(plain)
    assert EvaluationRecord.load(checkpoint.path, checkpoint.sha256) == EvaluationRecord(
        expected, fit.recalibration, data.splits["valid"].rows
    )
    losses = ", ".join(f"{name} {loss:.5f}" for name, loss in fit.losses.items())
    assert f"\ncross-validated log loss: {losses}\n" in fitted_text
    rows = data.splits["valid"].rows
    lines = (
        f"recalibration  {fit.recalibration.method}, fitted on {rows} validation rows\n"
        f"before it    AUC {plain['AUC']:.4f}, log loss {plain['log_loss']:.4f}, calibration "
        f"{plain['calibration']:.4f} (error {plain['calibration_error']:.4f})\n"
        f"by chance    error {chance_calibration_error(recalibrated):.4f}, if each probability were exact\n"
    )
    again_text, again = evaluate()
    assert without_time(again) == without_time(fitted)
    assert lines in fitted_text
    assert lines in again_text
    log = (tmp_path / "auc.log").read_text().splitlines()
    assert [line.split("log_loss: ")[1].split(",")[0] for line in log] == [
        f"{result['log_loss']:.6f}" for result in (plain, fitted, again)
    ]


def named(result):
    """Return the metrics of a result line under the names of compute_metrics."""
    others = {"eval_time", "before_recalibration"}
    return {name.replace("AUC", "auc"): value for name, value in result.items() if name not in others}


def test_a_fit_that_prefers_no_recalibration_drops_an_earlier_one(checkpoint, evaluate, monkeypatch):
    _, plain = evaluate()
    curve = Recalibration(Method.PLATT, (-1.0, 1.0), (-3.0, 1.0))
    EvaluationRecord(None, curve, 100).save(checkpoint.path, checkpoint.sha256, is_fitted=True)
    losses = {"none": 0.5, "platt": 0.5, "isotonic": 0.6}
    monkeypatch.setattr(eval_script, "fit_recalibration", lambda *_: Fit(None, 100, losses))
    printed, result = evaluate("--fit_calibration=True")
    assert "note: neither method lowers the log loss, so the probabilities stay as they are\n" in printed
    assert without_time(result) == without_time(plain)
    assert EvaluationRecord.load(checkpoint.path, checkpoint.sha256) == EvaluationRecord(named(plain))


def test_the_recalibration_of_other_weights_is_not_applied(checkpoint, evaluate):
    EvaluationRecord(None, Recalibration(Method.PLATT, (-1.0, 1.0), (-3.0, 1.0)), 100).save(
        checkpoint.path, "0" * 64, is_fitted=True
    )
    assert "before it" not in evaluate()[0]


def test_predictions_are_those_of_the_records_in_their_order(data, checkpoint, evaluate, tmp_path):
    path = tmp_path / "predictions.csv"
    curve = Recalibration(Method.PLATT, (-1.0, 1.0), (-3.0, 1.0))
    labels, probabilities = predictions_of(checkpoint, data, "test")
    for recalibration, expected in ((None, probabilities), (curve, curve.apply(probabilities))):
        EvaluationRecord(None, recalibration, 100).save(checkpoint.path, checkpoint.sha256, is_fitted=True)
        printed, _ = evaluate(f"--predictions_path={path}")
        assert f"\npredictions  {path}\n" in printed
        lines = [f"{row},{label:.0f},{float(each):.8f}" for row, (label, each) in enumerate(zip(labels, expected), 1)]
        assert path.read_text() == "\n".join(["row,label,probability", *lines, ""])


def test_eval_says_that_metrics_are_weighted(weighted, weighted_dataset, tmp_path, capsys):
    network = make_network(weighted)
    folder = ModelFolder.create(tmp_path / "ckpt", network.config, DataIdentity.of_dataset(weighted))
    folder.save(network, 1, 20, {}, {})
    files = {name: tmp_path / name for name in ("report.html", "predictions.csv", "auc.log")}
    eval_script.main(
        [f"--dataset_path={weighted_dataset}", f"--checkpoint_path={folder.path}", "--batch_size=50", "--by_field=C3",
         f"--report_path={files['report.html']}", f"--predictions_path={files['predictions.csv']}",
         f"--eval_file_name={files['auc.log']}", "--device_target=CPU"]
    )  # fmt: skip
    printed = capsys.readouterr().out
    columns = predict(DeepFMPredict(network), create_dataset(weighted, "test", 50), ProcessGroup(), "test")
    weights = read_weights(weighted_dataset, "test")
    assert f"\nweights      metrics count each row by its weight (sum {weights.sum():.4g})\nAUC " in printed
    assert named(ast.literal_eval(printed.splitlines()[-1])["result"]) == compute_metrics(*columns)
    header, *lines = files["predictions.csv"].read_text().splitlines()
    assert header == "row,label,probability,weight"
    assert [float(line.split(",")[3]) for line in lines] == weights.tolist()
    report = files["report.html"].read_text()
    assert f"sum of weights<strong>{weights.sum():.4g}</strong>" in report


def test_metrics_that_cannot_be_stored_are_noted_but_a_recalibration_must_be(checkpoint, evaluate):
    folder = checkpoint.path.parent
    (folder / "evaluations.json.tmp").mkdir()  # where the file is written before it is renamed
    printed, _ = evaluate()
    assert f"note: {folder}: Is a directory; these metrics are not stored there\n" in printed
    with pytest.raises(IsADirectoryError):
        evaluate("--fit_calibration=True")


def test_a_checkpoint_folder_that_cannot_take_a_recalibration_is_named(checkpoint, evaluate):
    path = checkpoint.path.with_name("evaluations.json")
    path.mkdir()
    with (
        pytest.raises(UserError) as caught,
        prepared(eval_script.outputs(load_config(["--fit_calibration=True"]), checkpoint)),
    ):
        pass
    assert str(caught.value) == (
        f"--fit_calibration=True: {path} cannot be written: is a folder, a file is wanted; "
        "make the checkpoint folder writable"
    )


def test_all_files_are_proved_writable_before_the_evaluation(checkpoint):
    config = load_config(["--fit_calibration=True", "--predictions_path=a.csv"])
    paths = {output.flag: output.path for output in eval_script.outputs(config, checkpoint)}
    assert paths == {
        "eval_file_name": "./auc.log",
        "report_path": "./report.html",
        "predictions_path": "a.csv",
        "fit_calibration": str(checkpoint.path.parent / "evaluations.json"),
    }
