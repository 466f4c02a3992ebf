# SPDX-License-Identifier: Apache-2.0
"""A log with weights, floats, multi-valued columns and quotes from its schema to scores, as a user goes there."""

import csv
import json
import math
import pathlib

import numpy as np
import polars as pl
import pytest
import yaml

import eval as evaluation
import export
import predict
from src.dataset_meta import DatasetMeta
from src.package import load_model
from src.preprocess_data import main as preprocess
from src.preprocessing.splits import KeySplits
from src.synthetic_logs.__main__ import main as write_log
from tests.inference_requests import are_close, grpc_input, length_prefixed, tensor
from tests.processes import assert_refused
from tests.serving import GrpcClient, Server
from tests.training import run_train

SMALL = ("--embedding_size=4", "--hidden_sizes=16,8", "--batch_size=200", "--learning_rate=0.01", "--train_epochs=1")
FLOATS, LIST = ("price", "discount"), "tags"


def run_in(folder, main, *flags):
    """Run the main function of an entry point with a folder as the working directory."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        main(flags)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory, cpu):
    """A folder with the log, its MindRecord, checkpoint and package, and eval.py's predictions of the test rows."""
    work = tmp_path_factory.mktemp("shop")
    write_log(["--kind=shop", "--rows=6000", f"--out={work / 'log'}"])
    flags = ("--line_per_sample=100", "--threshold=5", "--train_line_count=0", "--dense_encoding=log+bin")
    paths = ("--data_path=log/shop.csv", "--output_dir=mindrecord", "--schema_path=log/schema.yaml")
    run_in(work, preprocess, *paths, *flags)
    run_train(work, "--dataset_path=mindrecord", "--ckpt_path=checkpoint", "--report_path=report.html", *SMALL)
    data = ("--dataset_path=mindrecord", "--batch_size=200")
    predictions = ("--predictions_path=test.csv", "--report_path=report.html", "--by_field=brand")
    run_in(work, evaluation.main, "--checkpoint_path=checkpoint", *data, *predictions)
    package = ("--file_format=PACKAGE", "--file_name=model")
    run_in(work, export.main, "--ckpt_file=checkpoint", "--dataset_path=mindrecord", *package)
    return work


@pytest.fixture(scope="module")
def test_rows(shop):
    """The header, and the lines of the test split in the order of eval.py."""
    header, *lines = (shop / "log" / "shop.csv").read_text().splitlines()
    settings = DatasetMeta.load(shop / "mindrecord").settings
    splits = KeySplits.from_ratios(settings["split_seed"], settings["valid_ratio"], settings["test_ratio"])
    keys = splits.keys(np.arange(len(lines), dtype=np.uint64))
    order = np.argsort(keys)
    return [header, *(lines[row] for row in order[splits.split(keys[order])["test"]])]


def scores_of(path):
    with open(path, newline="") as file:
        return [float(line["probability"]) for line in csv.DictReader(file)]


def predict_file(shop, path):
    """Return the scores of a file by the package."""
    run_in(shop, predict.main, "--model_path=model", f"--input_path={path}", "--output_path=scores.csv")
    scores = scores_of(shop / "scores.csv")
    (shop / "scores.csv").unlink()
    return scores


def test_the_package_gives_the_test_rows_the_scores_of_eval(shop, test_rows, tmp_path):
    (tmp_path / "test.csv").write_text("\n".join(test_rows))
    expected = scores_of(shop / "test.csv")
    assert len(expected) == len(test_rows) - 1 > 500 and np.ptp(expected) > 0.05
    np.testing.assert_allclose(predict_file(shop, tmp_path / "test.csv"), expected, rtol=0, atol=1e-6)


def columns_of(rows):
    """Return the columns of lines with a header as polars reads them, null where a value is missing."""
    return pl.read_csv("\n".join(rows).encode(), null_values=["NULL"])


def test_parquet_with_lists_gives_the_same_data_and_the_same_scores(shop, test_rows, tmp_path):
    frame = columns_of((shop / "log" / "shop.csv").read_text().splitlines())
    typed = frame.with_columns(pl.col(LIST).str.split("|"), pl.col("timestamp").str.to_datetime())
    typed.write_parquet(tmp_path / "shop.parquet")
    flags = ("--line_per_sample=100", "--threshold=5", "--train_line_count=0", "--dense_encoding=log+bin")
    paths = (f"--data_path={tmp_path / 'shop.parquet'}", f"--output_dir={tmp_path / 'mindrecord'}")
    run_in(shop, preprocess, *paths, "--schema_path=log/schema.yaml", *flags)
    ours, others = DatasetMeta.load(shop / "mindrecord"), DatasetMeta.load(tmp_path / "mindrecord")
    assert ours.splits == others.splits and ours.vocabulary_sha256 == others.vocabulary_sha256
    columns_of(test_rows).with_columns(pl.col(LIST).str.split("|")).write_parquet(tmp_path / "test.parquet")
    found = predict_file(shop, tmp_path / "test.parquet")
    np.testing.assert_allclose(found, scores_of(shop / "test.csv"), rtol=0, atol=1e-6)


def test_the_report_shows_the_fields_and_the_slices(shop):
    report = (shop / "report.html").read_text(encoding="utf-8")
    for name in ("price", "discount", "brand", "page", LIST, "age_days"):
        assert name in report


def test_the_slices_of_a_multi_valued_field_are_refused_by_its_name(shop, run):
    flags = ("--dataset_path=mindrecord", "--checkpoint_path=checkpoint", "--batch_size=200", "--by_field=tags")
    finished = run(pathlib.Path(evaluation.__file__), *flags, cwd=shop)
    assert_refused(finished, "--by_field=tags: a row may have several tags; the fields of one value are age_days, ")


def as_inputs(frame, schema):
    """Return an input of REST for each column that a model uses."""
    inputs = []
    for name in schema["integers"]:
        cells = [-(2**63) if cell is None else cell for cell in frame[name].to_list()]
        inputs.append(tensor(name, cells, "INT64"))
    inputs += [tensor(name, frame[name].to_list(), "FP64") for name in schema["floats"]]
    names = [*schema["categories"], *schema["multi_valued"]]
    return [*inputs, *(tensor(name, frame[name].fill_null("").to_list()) for name in names)]


def test_the_server_takes_lines_and_columns_of_such_a_log(shop, test_rows, tmp_path):
    rows = test_rows[:301]
    schema = yaml.safe_load((shop / "log" / "schema.yaml").read_text())
    frame = columns_of(rows)
    expected = load_model(shop / "model").predict(frame)
    inputs = as_inputs(frame, schema)
    with Server(shop / "model", tmp_path / "log") as server:
        described = {each["name"]: each["datatype"] for each in server.get("/v2/models/deepfm").content["inputs"]}
        assert described == {"rows": "BYTES", **{each["name"]: each["datatype"] for each in inputs}}
        assert are_close(server.infer(*inputs).probabilities, expected)
        texts = frame.select(pl.col(*FLOATS).cast(pl.String).fill_null("NULL"))
        as_texts = [tensor(name, texts[name].to_list()) if name in FLOATS else each
                    for name, each in ((each["name"], each) for each in inputs)]  # fmt: skip
        assert are_close(server.infer(*as_texts).probabilities, expected)
        client = GrpcClient(server)
        messages = [grpc_input(each["name"], without_nulls(each["data"]), each["datatype"]) for each in inputs]
        response = client.call("ModelInfer", model_name="deepfm", inputs=messages)
        assert are_close(response.outputs[0].contents.fp32_contents, expected)
        raw = [raw_contents(each["data"], each["datatype"]) for each in inputs]
        described = [{key: message[key] for key in ("name", "datatype", "shape")} for message in messages]
        response = client.call("ModelInfer", model_name="deepfm", inputs=described, raw_input_contents=raw)
        assert are_close(np.frombuffer(response.raw_output_contents[0], "<f4"), expected)
        refused = server.infer(*(each | {"data": ["x"] * 300} if each["name"] == "price" else each for each in inputs))
        assert refused.status == 400 and "must be numbers, or null for a missing one" in refused.content["error"]
        explained = server.infer(*(each | {"data": each["data"][:2], "shape": [2]} for each in inputs),
                                 parameters={"explain": True}).content  # fmt: skip
        names = [each["name"] for each in explained["outputs"]]
        assert {"first_order_tags", "first_order_price", "first_order_price bucket"} < set(names)


def without_nulls(data):
    return [math.nan if each is None else each for each in data]


def raw_contents(data, datatype):
    """Return the raw contents of a tensor of gRPC."""
    if datatype == "BYTES":
        return length_prefixed(data)
    return np.array(without_nulls(data), {"INT64": "<i8", "FP64": "<f8"}[datatype]).tobytes()


def test_the_package_describes_its_multi_valued_fields(shop):
    content = json.loads((shop / "model" / "package.json").read_text())
    assert content["rows"]["multi_valued"] == {"tags": "|"} and content["rows"]["floats"] == [*FLOATS]
    assert content["network"]["list_lengths"] == [content["data"]["list_lengths"]["tags"]] == [6]
