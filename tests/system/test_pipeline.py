# SPDX-License-Identifier: Apache-2.0
"""The whole job by its commands, as processes."""

import ast
import json
import re

import pytest

import eval as eval_script
import train as train_script
from src.common.errors import UserError
from src.criteo_like import write_rows
from src.dataset_meta import DatasetMeta
from tests.checkpoints import save_random_checkpoint
from tests.conftest import ROOT
from tests.records import read_rows

SMALL = ("--batch_size=500", "--embedding_size=4", "--hidden_sizes=16,8", "--device_target=CPU", "--log_every=5")
NO_REPORT = "--report_path=none"


@pytest.fixture(scope="module")
def small(tmp_path_factory, run):
    """6,000 generated rows, preprocessed by the command of the model zoo's users but with a smaller threshold."""
    work = tmp_path_factory.mktemp("small")
    write_rows(work / "data" / "origin_data" / "train.txt", 6000, seed=2)
    flags = (
        "--dense_dim=13 --slot_dim=26 --threshold=10 --train_line_count=6000 --skip_id_convert=0 --line_per_sample=100"
    )
    finished = run("-m", "src.preprocess_data", f"--data_path={work / 'data'}/", *flags.split())
    assert finished.returncode == 0, finished.stderr
    return work


def train(run, work, name, *flags):
    folder = work / name
    folder.mkdir()
    finished = run(ROOT / "train.py", f"--dataset_path={work / 'data' / 'mindrecord'}", *flags, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return folder, finished


def test_train_writes_what_the_model_zoos_users_expect(small, run):
    flags = ("--ckpt_path=./checkpoint", "--eval_file_name=auc.log", "--loss_file_name=loss.log", "--do_eval=True",
             "--train_epochs=2", *SMALL)  # fmt: skip
    folder, finished = train(run, small, "logs", *flags)
    losses = (folder / "loss.log").read_text().splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert all(re.fullmatch(time + r" epoch: [12] step: \d+, loss is \d\.\d+", line) for line in losses)
    assert [line.split("step: ")[1].split(",")[0] for line in losses] == ["5", "9"] * 2
    aucs = (folder / "auc.log").read_text().splitlines()
    assert len(aucs) == 2
    assert all(re.fullmatch(time + r" epoch: [12] valid AUC: 0\.\d{6}, log_loss: 0\.\d{6}, eval_time: [\d.]+s", line)
               for line in aucs)  # fmt: skip
    assert {path.name for path in (folder / "checkpoint").iterdir()} == {
        "deepfm-1_9.ckpt", "deepfm-2_9.ckpt", "model.json", "probe_rows.npz", "raw_rows.json", "run.json",
        "vocabulary.tsv"}  # fmt: skip
    model = json.loads((folder / "checkpoint" / "model.json").read_text())
    assert model["network"]["hidden_sizes"] == [16, 8]
    assert model["data"]["vocabulary_sha256"] == DatasetMeta.load(small / "data" / "mindrecord").vocabulary_sha256
    run_record = json.loads((folder / "checkpoint" / "run.json").read_text())
    assert run_record["settings"]["embedding_size"] == 4
    assert run_record["versions"]["mindspore"]
    assert [look["epoch"] for look in run_record["history"]] == [1, 2]
    assert "device: CPU" in finished.stdout
    assert re.search(r"train: 9,000 rows in [\d.]+ s, [\d,]+ rows/s", finished.stdout)
    assert finished.stderr == ""
    best = model["checkpoints"][1]
    assert finished.stdout.splitlines()[-4:] == [
        "trained      18 steps of 500 rows",
        f"best         epoch 2, step 9: valid AUC {best['valid']['auc']:.4f}, log loss {best['valid']['log_loss']:.4f}",
        "checkpoint   checkpoint/deepfm-2_9.ckpt",
        "report       ./report.html",
    ]
    report = (folder / "report.html").read_text()
    assert "DeepFM on the validation split" in report
    assert f"<strong>{best['valid']['log_loss']:.4f}</strong>" in report
    assert f"{run_record['losses'][-1][1]:.4f}" in report


@pytest.mark.slow
def test_the_same_seed_gives_the_same_losses_and_another_seed_others(small, run):
    texts = []
    for name, seed in (("first", 7), ("second", 7), ("third", 8)):
        flags = ("--train_epochs=3", f"--seed={seed}", "--log_every=1", *SMALL[:-1], NO_REPORT)
        folder, _ = train(run, small, name, *flags)
        texts.append([line.split(" ", 2)[2] for line in (folder / "loss.log").read_text().splitlines()])
    assert len(texts[0]) == 27
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


@pytest.mark.slow
def test_without_a_validation_set_it_trains_and_says_so(small, run, tmp_path):
    data = small / "data"
    finished = run(
        ROOT / "src" / "preprocess_data.py", f"--data_path={tmp_path}", "--valid_ratio=0", "--dense_encoding=bucket",
        "--line_per_sample=100", "--train_line_count=0",
    )  # fmt: skip
    assert finished.returncode == 2  # no data there yet
    (tmp_path / "origin_data").symlink_to(data / "origin_data")
    finished = run(
        ROOT / "src" / "preprocess_data.py", f"--data_path={tmp_path}", "--valid_ratio=0", "--dense_encoding=bucket",
        "--line_per_sample=100", "--train_line_count=0",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    finished = run(
        ROOT / "train.py", f"--dataset_path={tmp_path / 'mindrecord'}", "--train_epochs=1", *SMALL, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    assert "no validation set, so no metrics while training" in finished.stdout
    finished = run(ROOT / "eval.py", f"--dataset_path={tmp_path / 'mindrecord'}", *SMALL, cwd=tmp_path)
    assert "'AUC': 0." in finished.stdout
    assert "test AUC: 0." in (tmp_path / "auc.log").read_text()


def test_eval_scores_every_row_of_the_test_split(small, tmp_path, monkeypatch, capsys, cpu):
    data = DatasetMeta.load(small / "data" / "mindrecord")
    save_random_checkpoint(tmp_path / "checkpoint", data)
    monkeypatch.chdir(tmp_path)
    flags = (f"--dataset_path={data.path}", "--checkpoint_path=checkpoint", "--device_target=CPU")
    results = []
    for batch_size in (100, 700):
        eval_script.main([*flags, f"--batch_size={batch_size}"])
        printed = capsys.readouterr().out
        assert re.search(rf"^test         {data.splits['test'].rows} rows, \d+ clicks, [\d.]+ s$", printed, re.M)
        assert max(map(len, printed.splitlines()[:-1])) <= 80
        result = ast.literal_eval(printed.splitlines()[-1])["result"]
        assert result.keys() == {"AUC", "AUC_interval", "log_loss", "normalised_entropy", "calibration",
                                 "calibration_error", "eval_time"}  # fmt: skip
        assert result["AUC_interval"][0] < result["AUC"] < result["AUC_interval"][1]
        results.append(result)
    report = (tmp_path / "report.html").read_text()
    assert "DeepFM on the test split" in report
    assert f"<strong>{results[1]['AUC']:.4f}</strong>" in report
    assert results[0]["AUC"] == pytest.approx(results[1]["AUC"], abs=1e-6)
    assert results[0]["log_loss"] == pytest.approx(results[1]["log_loss"], abs=1e-6)


@pytest.mark.slow
def test_eval_by_field_scores_the_rows_of_each_value(small, run):
    folder, _ = train(run, small, "by_field", "--train_epochs=1", *SMALL, NO_REPORT)
    data = small / "data" / "mindrecord"
    finished = run(ROOT / "eval.py", f"--dataset_path={data}", "--by_field=C9", *SMALL, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    sparse_ids, _, labels = read_rows(data, "test")
    vocabulary = [line.split("\t") for line in (data / "vocabulary.tsv").read_text().splitlines()[1:]]
    ids = {value or "(missing)": int(id_) for field, value, id_, _ in vocabulary if field == "C9"}
    place = DatasetMeta.load(data).sparse_fields.index("C9")
    lines = finished.stdout.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("C9 "))
    table = [line.split() for line in lines[start + 1 : start + 4]]
    for value, rows, rate, *_ in table:
        own = labels[sparse_ids[:, place] == ids[value]]
        assert int(rows.replace(",", "")) == len(own) > 0
        assert float(rate) == pytest.approx(own.mean(), abs=1e-4)
    assert [row[1] for row in table] == sorted((row[1] for row in table), key=lambda text: -int(text.replace(",", "")))
    refused = run(ROOT / "eval.py", f"--dataset_path={data}", "--by_field=C99", *SMALL, cwd=folder)
    assert refused.returncode == 2
    assert "error: --by_field=C99: the sparse fields of these data are I1, I2" in refused.stderr


def test_a_rate_that_is_far_too_high_stops_with_a_clear_error(small, tmp_path, monkeypatch, cpu):
    monkeypatch.chdir(tmp_path)
    flags = (f"--dataset_path={small / 'data' / 'mindrecord'}", "--learning_rate=1e30", "--log_every=1", *SMALL[:-1])
    with pytest.raises(UserError, match=r"^the loss is (nan|inf) at epoch 1 step \d+; earlier checkpoints are kept"):
        train_script.main(flags)
    files = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert files == {"probe_rows.npz", "raw_rows.json", "vocabulary.tsv"}
