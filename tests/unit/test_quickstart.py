# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.report.quickstart import main, read_test_metrics

TIME = "2026-01-02 03:04:05"
ENTRIES = [
    {"file": "deepfm-1_20.ckpt", "epoch": 1, "valid": {"auc": 0.7, "log_loss": 0.5, "calibration": 1.0}},
    {"file": "deepfm-2_20.ckpt", "epoch": 2, "valid": {"auc": 0.71236, "log_loss": 0.4, "calibration": 1.0}},
]


@pytest.fixture
def work(dataset, tmp_path):
    """The folder of a quick start on the rows of `dataset`, where the second of two checkpoints is the best."""
    for name in ("data/origin_data", "checkpoint"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data" / "mindrecord").symlink_to(dataset)
    (tmp_path / "checkpoint" / "model.json").write_text(
        json.dumps({"best": "deepfm-2_20.ckpt", "checkpoints": ENTRIES})
    )
    (tmp_path / "auc.log").write_text(
        f"{TIME} epoch: 2 valid AUC: 0.712360, log_loss: 0.400000, eval_time: 0.1s\n"
        f"{TIME} deepfm-2_20.ckpt test AUC: 0.700049, log_loss: 0.450051, eval_time: 0.1s\n"
    )
    return tmp_path


def test_the_summary_names_rows_metrics_and_files(work, dataset, capsys):
    data = DatasetMeta.load(dataset)
    rows = {name: split.rows for name, split in data.splits.items()}
    main([str(work)])
    assert capsys.readouterr().out.splitlines() == [
        "",
        f"rows         train {rows['train']}, valid {rows['valid']}, test {rows['test']}; malformed lines 0",
        f"vocabulary   {data.vocabulary_size} ids, 7 sparse and 3 dense fields",
        "valid        AUC 0.7124  log loss 0.4000  (epoch 2, the best)",
        "test         AUC 0.7000  log loss 0.4501",
        f"data         {work}/data/mindrecord",
        f"checkpoint   {work}/checkpoint/deepfm-2_20.ckpt",
        f"logs         {work}/loss.log, auc.log",
        f"report       {work}/report.html",
    ]


def test_generated_rows_have_the_best_possible_metrics_too(work, capsys):
    (work / "data" / "origin_data" / "train.txt.best.json").write_text('{"auc": 0.75, "log_loss": 0.375, "rows": 1203}')
    main([str(work)])
    expected = "possible     AUC 0.7500  log loss 0.3750  (the true click probabilities, all rows)"
    assert expected in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("text", [None, "", f"{TIME} epoch: 2 valid AUC: 0.7, log_loss: 0.4, eval_time: 0.1s\n"])
def test_without_an_evaluation_it_is_said_how_to_get_one(tmp_path, text):
    path = tmp_path / "auc.log"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"auc\.log does not end with a line of eval\.py; run eval\.py first"):
        read_test_metrics(path)


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_one_folder_is_the_only_argument(arguments):
    with pytest.raises(UserError, match=r"WORK_FOLDER|unrecognized arguments: b"):
        main(arguments)
