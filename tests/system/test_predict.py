# SPDX-License-Identifier: Apache-2.0
"""predict.py as a user runs it: every form of the rows, every runtime, killed at any moment."""

import csv
import gzip
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from src.dataset_meta import DatasetMeta
from src.preprocessing.splits import KeySplits
from tests.conftest import ROOT
from tests.documents import code_blocks
from tests.processes import assert_refused, restore_signals
from tests.raw_data import archive_of
from tests.training import run_train

SMALL = ("--embedding_size=4", "--hidden_sizes=16,8", "--batch_size=100", "--learning_rate=0.01", "--train_epochs=2")
TOLERANCE = 1e-6
# predict.py, where imports of these modules fail as if they were not installed.
WITHOUT = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))
sys.argv[0] = "predict.py"
runpy.run_path("predict.py", run_name="__main__")
"""
# predict.py, which saves after each chunk instead of every two seconds: a fast machine scores all rows in less.
SAVES_OFTEN = """
import functools, runpy, sys
import src.scoring.scoring
src.scoring.scoring.score_rows = functools.partial(src.scoring.scoring.score_rows, save_seconds=0)
sys.argv[0] = "predict.py"
runpy.run_path("predict.py", run_name="__main__")
"""
# Runs a command and prints its peak memory: that of a process begins with its parent's, so the parent must be small.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
NOT_NEEDED = "sklearn,scipy,pandas,matplotlib,onnx,fsspec"


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory, run, cpu):
    """A folder with the checkpoints of a short training, eval.py's predictions of the test rows, and the package."""
    work = tmp_path_factory.mktemp("trained")
    run_train(work, f"--dataset_path={data}", "--ckpt_path=checkpoint", "--report_path=none", *SMALL)
    evaluation = ("--predictions_path=test.csv", "--fit_calibration=True", "--report_path=none")
    for script, *flags in (
        ("eval.py", "--checkpoint_path=checkpoint", *evaluation),
        ("export.py", "--ckpt_file=checkpoint", "--file_format=PACKAGE", "--file_name=model"),
    ):
        finished = run(ROOT / script, f"--dataset_path={data}", *flags, cwd=work)
        assert finished.returncode == 0, finished.stderr
        (work / f"{script}.out").write_text(finished.stdout)
    return work


@pytest.fixture(scope="module")
def rows(data):
    """The raw rows, and the indices of those of the test split in the order of eval.py."""
    lines = data.with_name("train.txt").read_text().splitlines(keepends=True)
    settings = DatasetMeta.load(data).settings
    splits = KeySplits.from_ratios(settings["split_seed"], settings["valid_ratio"], settings["test_ratio"])
    keys = splits.keys(np.arange(len(lines), dtype=np.uint64))
    order = np.argsort(keys)
    return lines, order[splits.split(keys[order])["test"]].tolist()


@pytest.fixture(scope="module")
def many_rows(rows, tmp_path_factory):
    """A file of 300,000 rows, which take some seconds."""
    path = tmp_path_factory.mktemp("rows") / "rows.txt"
    path.write_text("".join(rows[0] * 50))
    return path


def flags(trained, input_path, output_path, *others):
    paths = {"model_path": trained / "model", "input_path": input_path, "output_path": output_path}
    return [*(f"--{key}={value}" for key, value in paths.items()), *map(str, others)]


def command(*arguments):
    return [sys.executable, str(ROOT / "predict.py"), *arguments]


def scores_of(path):
    with open(path, newline="") as file:
        return [float(line["probability"]) for line in csv.DictReader(file)]


def predict(run, *arguments):
    """Run predict.py to its end; return what it printed."""
    finished = run(ROOT / "predict.py", *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("model", ["model", "checkpoint"])
def test_the_test_rows_have_the_probabilities_and_the_metrics_of_eval(trained, rows, run, tmp_path, model):
    lines, test = rows
    (tmp_path / "test.txt").write_text("".join(lines[row] for row in test))
    printed = predict(run, *flags(trained, tmp_path / "test.txt", tmp_path / "scores.csv"),
                      f"--model_path={trained / model}")  # fmt: skip
    np.testing.assert_allclose(
        scores_of(tmp_path / "scores.csv"), scores_of(trained / "test.csv"), rtol=0, atol=TOLERANCE
    )
    evaluated = (trained / "eval.py.out").read_text()
    for name in ("AUC ", "log loss", "calibration"):
        line = re.search(rf"^{name}.*$", printed, re.M)[0]
        assert line in evaluated
    assert f"rows         {len(test)} with a label, of {tmp_path / 'test.txt'}\n" in printed


@pytest.mark.slow
def test_every_form_of_the_rows_gives_the_same_scores(trained, rows, run, tmp_path):
    text = "".join(rows[0]).encode()
    unlabelled = b"".join(line.encode().partition(b"\t")[2] for line in rows[0])
    forms = {
        "rows.txt": text,
        "unlabelled.txt": unlabelled,
        "rows.txt.gz": gzip.compress(unlabelled),
        "train.tar.gz": archive_of(text),
        "test.tar.gz": archive_of(unlabelled, name="test.txt"),
    }
    scores = {}
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        printed = predict(run, *flags(trained, tmp_path / name, tmp_path / "scores.csv"))
        scores[name] = (tmp_path / "scores.csv").read_bytes()
        label = "without" if content != text and name != "train.tar.gz" else "with"
        member = f"{name.partition('.')[0]}.txt in " if name.endswith(".tar.gz") else ""
        assert f"6,000 {label} a label, of {member}{tmp_path / name}" in printed
        assert ("AUC" in printed) is (label == "with")
    piped = subprocess.run(command(*flags(trained, "-", "-")), input=text, capture_output=True, check=True, cwd=ROOT)
    assert piped.stdout == scores["rows.txt"]
    assert b"rows         6,000 with a label, of stdin" in piped.stderr
    assert len(set(scores.values())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*forms, "scores.csv"])


def run_without(modules, *arguments):
    """Run predict.py to its end, where these modules are not installed."""
    program = [sys.executable, "-c", WITHOUT, modules, *arguments]
    return subprocess.run(program, check=False, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("absent", "model"),
    [(f"mindspore,{NOT_NEEDED}", "model"), ("onnxruntime", "model"), ("onnxruntime", "checkpoint")],
)
def test_either_runtime_is_enough(trained, rows, tmp_path, absent, model):
    (tmp_path / "rows.txt").write_text("".join(rows[0][:1500]))
    arguments = flags(trained, tmp_path / "rows.txt", tmp_path / "scores.csv", f"--model_path={trained / model}")
    assert run_without(absent, *arguments).returncode == 0
    subprocess.run(command(*arguments, f"--output_path={tmp_path / 'both.csv'}"), check=True, capture_output=True)
    np.testing.assert_allclose(
        scores_of(tmp_path / "scores.csv"), scores_of(tmp_path / "both.csv"), rtol=0, atol=TOLERANCE
    )


def test_without_any_runtime_the_error_says_what_to_install(trained, many_rows, tmp_path):
    arguments = flags(trained, many_rows, tmp_path / "scores.csv")
    finished = run_without("mindspore,onnxruntime", *arguments)
    assert_refused(finished, "a model needs onnxruntime or MindSpore; pip install onnxruntime")


def test_a_checkpoint_without_mindspore_is_refused(trained, many_rows, tmp_path):
    arguments = flags(trained, many_rows, tmp_path / "scores.csv", f"--model_path={trained / 'checkpoint'}")
    assert_refused(run_without("mindspore", *arguments), "a checkpoint needs MindSpore")


def test_explained_rows_sum_to_the_logit_of_the_probability(trained, rows, run, tmp_path):
    (tmp_path / "rows.txt").write_text("".join(rows[0][:300]))
    predict(run, *flags(trained, tmp_path / "rows.txt", tmp_path / "scores.csv", "--explain=True"))
    with open(tmp_path / "scores.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        probability, logit = float(line.pop("probability")), float(line.pop("logit"))
        parts = [value for name, value in line.items() if name != "row" and not re.fullmatch(r"pair_\d", name)]
        assert sum(map(float, parts)) == logit
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(probability, abs=TOLERANCE)
    assert len(lines) == 300 and float(lines[0]["recalibration"]) != 0


def start(arguments, *, saves_often):
    """Start predict.py; return the process."""
    program = [sys.executable, "-c", SAVES_OFTEN, *arguments] if saves_often else command(*arguments)
    return subprocess.Popen(
        program, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=restore_signals,  # noqa: PLW1509
    )  # fmt: skip


def wait_until(condition, process):
    """Wait until condition() holds while a process runs."""
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)


def kill_when(condition, arguments):
    """Start predict.py and kill it as soon as condition() holds."""
    process = start(arguments, saves_often=True)
    wait_until(condition, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it has ended before the condition held"


def has_saved(path):
    """Tell whether a run has saved scores in a journal: the first one holds nothing but its head."""
    if not path.exists():
        return False
    with np.load(path) as journal:
        return len(journal.files) > 1


def test_a_killed_run_resumes_to_the_same_bytes(trained, many_rows, run, tmp_path):
    expected = predict(run, *flags(trained, many_rows, tmp_path / "expected.csv", "--keep_columns=C1"))
    arguments = flags(trained, many_rows, tmp_path / "scores.csv", "--keep_columns=C1")
    kill_when(lambda: has_saved(tmp_path / "scores.csv.journal"), arguments)
    assert not (tmp_path / "scores.csv").exists()
    resumed = predict(run, *arguments)
    assert "some of it by an earlier run" in resumed
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected.csv", "scores.csv"]
    metrics = [re.findall(r"^(?:AUC|log loss|rows|C\d+).*$", text, re.M) for text in (expected, resumed)]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(trained, many_rows, run, tmp_path):
    start = time.monotonic()
    predict(run, *flags(trained, many_rows, tmp_path / "expected.csv", "--on_bad_row=empty"))
    seconds = time.monotonic() - start
    arguments = flags(trained, many_rows, tmp_path / "scores.csv", "--on_bad_row=empty")
    dice = random.Random(19)
    for _ in range(15):
        process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(dice.random() * seconds)
        process.kill()
        process.wait()
    predict(run, *arguments)
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected.csv", "scores.csv"]


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_signal_ends_it_in_one_line_that_says_how_to_resume_if_that_is_possible(
    trained, many_rows, tmp_path, is_saved
):
    process = start(flags(trained, many_rows, tmp_path / "scores.csv"), saves_often=is_saved)
    journal = tmp_path / "scores.csv.journal"
    wait_until(lambda: has_saved(journal) if is_saved else journal.exists(), process)
    process.terminate()
    hint = "; run the same command again to resume" if is_saved else ""
    assert process.communicate()[1] == f"stopped by SIGTERM{hint}\n"
    assert process.returncode == 128 + signal.SIGTERM
    assert bool(list(tmp_path.iterdir())) is is_saved


def test_a_file_that_cannot_grow_ends_in_one_line(trained, many_rows, tmp_path):
    def limit_file_size():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    finished = subprocess.run(
        command(*flags(trained, many_rows, tmp_path / "scores.csv")),
        capture_output=True, text=True, check=False, preexec_fn=limit_file_size,
    )  # fmt: skip
    assert_refused(finished, "File too large")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_closes_the_pipe_ends_it_in_one_line(trained, many_rows):
    script = f"{' '.join(command(*flags(trained, many_rows, '-')))} | head -2; exit ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert finished.returncode == 0
    assert finished.stdout.startswith("row,probability\n1,0.")
    assert finished.stderr == "note: the reader of the scores has closed the pipe\n"


def test_a_malformed_row_or_a_damaged_file_leaves_nothing(trained, rows, run, tmp_path):
    (tmp_path / "rows.txt").write_text(rows[0][0] + "bad\n")
    finished = run(ROOT / "predict.py", *flags(trained, tmp_path / "rows.txt", tmp_path / "a.csv", "--on_bad_row=fail"))
    assert_refused(finished, 'line 2 has 1 column, "bad"', "--on_bad_row=skip leaves such rows out")
    (tmp_path / "rows.txt.gz").write_bytes(gzip.compress("".join(rows[0]).encode())[:-1000])
    finished = run(ROOT / "predict.py", *flags(trained, tmp_path / "rows.txt.gz", tmp_path / "a.csv"))
    assert_refused(finished, "rows.txt.gz is damaged or truncated")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.txt", "rows.txt.gz"]


def test_the_programs_of_the_page_on_scoring_run(trained):
    programs = code_blocks((ROOT / "docs" / "scoring.md").read_text(encoding="utf-8"), "python")
    assert len(programs) == 2
    for program in programs:
        finished = subprocess.run([sys.executable, "-c", program], cwd=trained, env={**os.environ, "PYTHONPATH": ROOT},
                                  capture_output=True, text=True, check=False)  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        assert re.search(r"\d\.\d", finished.stdout)


@pytest.mark.slow
def test_the_memory_does_not_grow_with_the_rows(trained, many_rows, tmp_path):
    peaks = []
    path = tmp_path / "rows.txt"
    for copies in (2, 10):
        with open(path, "wb") as file:
            for _ in range(copies):
                file.write(many_rows.read_bytes())
        measured = [sys.executable, "-c", PEAK, *command(*flags(trained, path, "/dev/null"))]
        finished = subprocess.run(measured, capture_output=True, text=True, check=True)
        peaks.append(int(finished.stdout.splitlines()[-1]))
    assert peaks[1] < 1.2 * peaks[0]
