# SPDX-License-Identifier: Apache-2.0
"""The C++ runner's mode of raw rows, with the real MindSpore Lite of the CPU: a model package and lines of text."""

import csv
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import numpy as np
import pytest
from mindspore.train import mind_ir_pb2

from src.checkpoint import find_checkpoint
from src.criteo_like import write_rows
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.package.package import MANIFEST_NAME, Package
from src.package.raw_encoding import RawEncoding
from src.preprocessing.raw_rows import parse_chunk
from tests import click_log
from tests.conftest import ROOT, make_rows
from tests.fuzzed_rows import encode_in_cpp, encode_in_python
from tests.numpy_deepfm import NumpyDeepFM
from tests.packages import RECALIBRATION, checkpoint_of, list_again, write_random_package
from tests.processes import assert_refused

ROWS = make_rows(2503, 3, 4, seed=9).split("\n")  # three batches, of which the last one is padded
HEADER = "row,probability\n"
TIMEOUT = 120


@pytest.fixture(scope="module")
def package(packages):
    """A package with a recalibration."""
    return packages[1]


@pytest.fixture
def score(runner, package):
    """Return a function that runs the runner with a text on stdin, and returns the finished process."""

    def run_runner(*arguments, text="", model=package):
        command = [runner, f"--model_path={model}", "--device_target=CPU", *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT)

    return run_runner


@pytest.fixture
def copied(package, tmp_path):
    """A copy of the package, to be broken."""
    return pathlib.Path(shutil.copytree(package, tmp_path / "package"))


@pytest.fixture(scope="module")
def expected(package):
    """The probabilities of ROWS, in float64 from the weights of the checkpoint."""
    parameters = find_checkpoint(checkpoint_of(package)).load_network().trainable_params()
    network = NumpyDeepFM({parameter.name: parameter.asnumpy() for parameter in parameters}, hidden_count=2)
    encoding = Package.load(package).encoding.encoder()
    sparse_ids, dense_values = encoding.encode(parse_chunk("\n".join([*ROWS, ""]).encode(), 0, encoding.schema).frame)
    return 1 / (1 + np.exp(-RECALIBRATION.map_logits(network.logits(sparse_ids, dense_values).ravel())))


def scores_of(text):
    """Return the row numbers and the probabilities of scores."""
    assert text.startswith(HEADER)
    rows, probabilities = zip(*(line.split(",") for line in text.splitlines()[1:]))
    return list(map(int, rows)), np.array(probabilities, np.float64)


@pytest.mark.parametrize("has_label", [True, False])
def test_scores_are_those_of_the_checkpoint(score, expected, tmp_path, has_label):
    lines = ROWS if has_label else [line.split("\t", 1)[1] for line in ROWS]
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    finished = score(f"--input_path={tmp_path}/rows.txt", f"--output_path={tmp_path}/scores.csv")
    assert (finished.returncode, finished.stdout) == (0, "")
    assert finished.stderr.startswith(f"rows: 2503 {'with' if has_label else 'without'} a label, s: ")
    rows, probabilities = scores_of((tmp_path / "scores.csv").read_text())
    assert rows == list(range(1, 2504))
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)
    assert probabilities.std() > 0.05


def test_the_scores_are_the_same_bytes_for_any_number_of_threads(score, tmp_path):
    (tmp_path / "rows.txt").write_text("\n".join(ROWS * 4))
    outputs = {score(f"--input_path={tmp_path}/rows.txt", f"--threads={threads}").stdout for threads in (1, 2, 3, 8)}
    assert len(outputs) == 1
    assert outputs.pop().count("\n") == len(ROWS) * 4 + 1


def test_rows_of_a_stream_are_answered_as_they_arrive(runner, package, expected):
    command = [runner, f"--model_path={package}", "--device_target=CPU", "--max_delay_ms=1"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == HEADER
        for number, (line, probability) in enumerate(zip(ROWS[:3], expected), 1):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            row, found = process.stdout.readline().split(",")
            assert int(row) == number
            assert float(found) == pytest.approx(probability, abs=1e-6)
        process.stdin.close()
        assert process.stdout.read() == ""
        assert process.wait(TIMEOUT) == 0
        assert process.stderr.read().startswith("rows: 3 with a label, ")


def test_the_first_row_of_a_stream_tells_whether_there_are_labels_but_most_rows_of_a_file(score, tmp_path):
    text = "\n".join([ROWS[0].split("\t", 1)[1], *ROWS[1:4]]) + "\n"
    (tmp_path / "rows.txt").write_text(text)
    stream, file = score(text=text), score(f"--input_path={tmp_path}/rows.txt")
    assert stream.stderr.startswith("rows: 1 without a label, ")
    assert "malformed: 3 (3 columns); line 2 has 8 columns" in stream.stderr
    assert file.stderr.startswith("rows: 3 with a label, ")
    assert "malformed: 1 (1 columns); line 1 has 7 columns" in file.stderr


@pytest.mark.parametrize("choice", ["skip", "empty", "fail"])
def test_malformed_rows_are_skipped_or_empty_or_end_the_program(score, tmp_path, choice):
    text = f"{ROWS[0]}\nx\t1\n{ROWS[1]}\n"
    (tmp_path / "scores.csv").write_text("old")
    finished = score(f"--on_bad_row={choice}", f"--output_path={tmp_path}/scores.csv", text=text)
    assert not (tmp_path / "scores.csv.partial").exists()
    scores = (tmp_path / "scores.csv").read_text()
    if choice == "fail":
        fault = 'error: stdin line 2 has 2 columns, "x\\t1"; a row has 8: 1 label, 3 integers and 4 categories,'
        assert_refused(finished, fault)
        assert scores == "old"
        return
    assert finished.returncode == 0
    assert "malformed: 1 (1 columns); line 2 has 2 columns" in finished.stderr
    numbers = [line.split(",")[0] for line in scores.splitlines()[1:]]
    assert numbers == (["1", "3"] if choice == "skip" else ["1", "2", "3"])
    assert ("\n2,\n" in scores) == (choice == "empty")


def test_unlike_rows_are_reported(score):
    text = "".join("\t".join([*line.split("\t")[:4], "new", "new", "new", "new"]) + "\n" for line in ROWS[:200])
    finished = score(text=text)
    assert "warning: rates that differ most from the training rows': C" in finished.stderr
    assert " OOV 1.000 instead of 0." in finished.stderr


def test_an_input_that_does_not_exist_and_an_output_that_cannot_be_written_are_refused(score, tmp_path):
    assert_refused(score("--input_path=none.txt"), "--input_path=none.txt: cannot be read (No such file or directory)")
    assert_refused(score(f"--output_path={tmp_path}/none/scores.csv"), "cannot be written (No such file or directory)")
    assert_refused(score("--output_path=/dev/full", text=ROWS[0]), "/dev/full: cannot be written (No space left on")


def test_a_package_of_another_format_or_with_other_files_is_refused(score, copied):
    content = (copied / "model.onnx").read_bytes()
    (copied / "model.onnx").write_bytes(content[:-1])
    assert_refused(
        score(model=copied), f"{copied}/model.onnx: holds {len(content) - 1} bytes instead of {len(content)}"
    )
    (copied / "model.onnx").write_bytes(content[:-1] + b"x")
    assert_refused(score(model=copied), f"{copied}/model.onnx: its SHA-256 is not that of package.json")
    (copied / "model.onnx").unlink()
    assert_refused(score(model=copied), f"{copied}/model.onnx: no such file; copy the package again")
    manifest = (copied / MANIFEST_NAME).read_text()
    (copied / MANIFEST_NAME).write_text(manifest.replace('"format_version": 1', '"format_version": 2'))
    assert_refused(score(model=copied), "was written by a newer version of this project", "update this program")
    (copied / MANIFEST_NAME).write_text(manifest.replace('"model.onnx": {', '"../model.onnx": {'))
    assert_refused(score(model=copied), "lists a file that is no plain name of this folder")
    (copied / MANIFEST_NAME).write_text(manifest[:-100])
    assert_refused(score(model=copied), f"{copied}/package.json: is not JSON")
    assert_refused(score(model=copied.parent / "none"), "none: no such folder")


def test_a_vocabulary_that_is_not_the_models_is_refused(score, copied):
    path = copied / VOCABULARY_NAME
    lines = path.read_text().splitlines(keepends=True)
    first, second = lines[-2].split("\t"), lines[-1].split("\t")
    lines[-2:] = ["\t".join([first[0], second[1], *first[2:]]), "\t".join([second[0], first[1], *second[2:]])]
    path.write_text("".join(lines))
    list_again(copied, VOCABULARY_NAME)
    assert_refused(score(model=copied), f"{path}: is not the vocabulary of the model; copy the package again")
    manifest = json.loads((copied / MANIFEST_NAME).read_text())
    manifest["data"]["vocabulary_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copied / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert_refused(score(model=copied), "model.mindir: its vocabulary_sha256 is not that of package.json")


def test_the_weights_of_another_model_are_refused(score, copied, make_dataset, tmp_path):
    model = mind_ir_pb2.ModelProto.FromString((copied / "model.mindir").read_bytes())
    [bias] = [parameter for parameter in model.graph.parameter if parameter.name.endswith(":bias")]
    bias.raw_data = np.array([5], np.float32).tobytes()
    (copied / "model.mindir").write_bytes(model.SerializeToString())
    list_again(copied, "model.mindir")
    assert_refused(score(model=copied), f"{copied}: the score of golden row ")
    write_random_package(tmp_path / "other", DatasetMeta.load(make_dataset("--threshold=9")))
    shutil.copyfile(tmp_path / "other" / "model.mindir", copied / "model.mindir")
    list_again(copied, "model.mindir")
    assert_refused(score(model=copied), f"{copied}/model.mindir: its data identity is not that of package.json")


def test_a_stopped_program_leaves_an_earlier_output(runner, package, tmp_path):
    (tmp_path / "scores.csv").write_text("old")
    command = [runner, f"--model_path={package}", "--device_target=CPU", f"--output_path={tmp_path}/scores.csv"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(f"{ROWS[0]}\n".encode())
        process.stdin.flush()
        while not (tmp_path / "scores.csv.partial").exists():
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == -signal.SIGTERM
    assert (tmp_path / "scores.csv").read_text() == "old"


def test_a_reader_that_ends_early_ends_the_program_without_an_error(runner, package, tmp_path):
    (tmp_path / "rows.txt").write_text("\n".join(ROWS * 20))
    command = f"set -o pipefail; '{runner}' --model_path='{package}' --device_target=CPU < rows.txt | head -n 2"
    finished = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.stdout.startswith(f"{HEADER}1,0.")
    assert (finished.returncode, finished.stderr) == (128 + signal.SIGPIPE, "")


@pytest.fixture(scope="module")
def click_package(click_log_data, tmp_path_factory, cpu):
    """A package for the rows of tests.click_log."""
    folder = tmp_path_factory.mktemp("click_log") / "package"
    write_random_package(folder, DatasetMeta.load(click_log_data), RECALIBRATION)
    return folder


def malformed_counts(pattern, summary):
    """Return the number of malformed lines of a summary, those by reason, and the number of the first such line."""
    count, reasons, line = re.search(pattern, summary).groups()
    return int(count.replace(",", "")), sorted(reasons.split(", ")), line


def test_lines_of_a_click_log_are_scored_as_by_predict(score, run, click_package, tmp_path):
    lines = click_log.fuzzed_lines(4, 3000)
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines))
    flags = ("--on_bad_row=empty", f"--input_path={tmp_path}/log.csv")
    ours = score(*flags, f"--output_path={tmp_path}/ours", model=click_package)
    theirs = run(ROOT / "predict.py", *flags, f"--model_path={click_package}", f"--output_path={tmp_path}/theirs")
    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr + theirs.stderr
    found, expected = (np.genfromtxt(tmp_path / name, delimiter=",", skip_header=1) for name in ("ours", "theirs"))
    # An age of 2^63 is 20 deviations from the mean: its logit is a small difference of terms of some hundred, float32.
    tolerance = np.where([b"9223372036854775" in line for line in lines[1:]], 1e-4, 1e-6)
    np.testing.assert_array_equal(found[:, 0], expected[:, 0])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    assert (np.nan_to_num(np.abs(found - expected)[:, 1]) <= tolerance).all()
    counts = malformed_counts(r"malformed: (\d+) \((.*?)\); (line \d+)", ours.stderr)
    assert counts == malformed_counts(r"malformed +([\d,]+) of .*? \((.*?)\); the first: (line \d+)", theirs.stdout)
    assert counts[0] == np.isnan(expected[:, 1]).sum()
    assert 500 < counts[0] < 1500
    assert expected[-1, 0] == 3000


def test_a_stream_has_the_header_of_its_rows(score, click_package, tmp_path):
    content = b"\n".join(click_log.well_formed_lines(5, 300))
    (tmp_path / "log.csv").write_bytes(content)
    stream = score(text=content.decode(), model=click_package)
    assert stream.stdout == score(f"--input_path={tmp_path}/log.csv", model=click_package).stdout
    assert stream.stdout.count("\n") == 301
    assert stream.stderr.startswith("rows: 300 with a label, ")


def test_a_header_that_lacks_a_column_is_refused_in_the_words_of_predict(score, run, click_package, tmp_path):
    (tmp_path / "log.csv").write_text('age,site,"a"\n5,x,y\n')
    fault = f"{tmp_path}/log.csv: there is no column app; the columns are age, site, a"
    flags = (f"--input_path={tmp_path}/log.csv", f"--output_path={tmp_path}/scores.csv")
    assert_refused(score(*flags, model=click_package), fault)
    assert_refused(run(ROOT / "predict.py", f"--model_path={click_package}", *flags), fault)


def test_a_csv_file_of_criteos_columns_has_a_header(score, expected, tmp_path):
    names = ["label", "I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row[::-1] for row in [names, *(line.split("\t") for line in ROWS[:100])]])
    rows, probabilities = scores_of(score(f"--input_path={tmp_path}/rows.csv").stdout)
    assert rows == list(range(1, 101))
    np.testing.assert_allclose(probabilities, expected[:100], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_hundred_thousand_generated_rows_are_encoded_as_in_python(data, tmp_path):
    build = tmp_path / "build"
    for command in (
        ["cmake", "-S", ROOT / "ascend310_infer", "-B", build, "-DUNIT_TESTS=ON"],
        ["cmake", "--build", build, "--target", "print_encoded"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    write_rows(tmp_path / "rows.txt", 100_000, seed=3)
    content = (tmp_path / "rows.txt").read_bytes()
    encoding = RawEncoding.of_dataset(DatasetMeta.load(data))
    found = encode_in_cpp(build, encoding, content, tmp_path / "package")
    expected = encode_in_python(encoding, content)
    assert len(found) == 100_001
    assert [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]] == []
