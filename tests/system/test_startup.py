# SPDX-License-Identifier: Apache-2.0
"""Help and mistakes in the command line are answered before anything is imported that takes time."""

import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

HEAVY = {"mindspore", "onnxruntime", "numpy", "pandas", "polars", "sklearn", "scipy", "matplotlib", "fsspec", "s3fs"}
TRAIN, EVAL, EXPORT, PREDICT = (ROOT / name for name in ("train.py", "eval.py", "export.py", "predict.py"))
PREPROCESS, POSTPROCESS, RECORDS = (
    ROOT / name for name in ("preprocess.py", "postprocess.py", "src/preprocess_data.py")
)
SELF_TEST = ("-m", "src.self_test")
GENERATE, SUMMARISE = ("-m", "src.criteo_like"), ("-m", "src.report.quickstart")
INFER = ("-m", "src.infer_schema")
LAUNCH = ROOT / "src" / "distributed" / "launch.py"
LIMIT_SECONDS = 1


@pytest.fixture
def answer(run, tmp_path):
    """Return a function that runs a command to its end; it returns status, stdout, stderr and the packages imported."""

    def run_command(*command):
        finished = run("-X", "importtime", *command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        lines = [re.match(r"import time: .*\| +([\w.]+)$", line) for line in finished.stderr.splitlines()]
        messages = [line for line in finished.stderr.splitlines() if not line.startswith("import time:")]
        packages = {line[1].partition(".")[0] for line in lines if line}
        assert "argparse" in packages  # the list is not empty for another reason
        assert list(tmp_path.iterdir()) == []
        return finished.returncode, finished.stdout, messages, packages

    return run_command


@pytest.mark.parametrize(
    "command",
    [
        [TRAIN],
        [EVAL],
        [EXPORT],
        [PREDICT],
        [PREPROCESS],
        [POSTPROCESS],
        [RECORDS],
        GENERATE,
        INFER,
        SUMMARISE,
        [LAUNCH],
        SELF_TEST,
    ],
    ids=lambda command: str(command[-1]).removeprefix(f"{ROOT}/"),
)
def test_help_imports_nothing_heavy(answer, command):
    status, output, messages, packages = answer(*command, "--help")
    assert (status, messages) == (0, [])
    assert output.startswith("usage: ")
    assert not packages & HEAVY


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ([TRAIN, "--bach_size=1"], "unknown argument --bach_size; did you mean --batch_size?"),
        ([TRAIN, "--config_path=none.yaml"], "--config_path=none.yaml: No such file or directory"),
        ([TRAIN, "--device_target=GPU"], "--device_target=GPU: this machine has no /dev/nvidia"),
        ([TRAIN, "--dataset_path=none"], "--dataset_path=none: no such file or folder"),
        ([EVAL, "--keep_prob=0"], "--keep_prob=0: must be more than 0"),
        ([EXPORT], "--ckpt_file is missing"),
        ([EXPORT, "--ckpt_file=none_there"], "--ckpt_file=none_there: no such file or folder"),
        ([EXPORT, f"--ckpt_file={ROOT}", f"--dataset_path={ROOT}"], f"{ROOT} holds no dataset_meta.json"),
        ([EXPORT, f"--ckpt_file={ROOT}", "--dataset_path=a"], "--dataset_path=a: no such file or folder"),
        ([TRAIN, f"--dataset_path={ROOT}"], f"{ROOT} holds no dataset_meta.json"),
        ([EVAL, "--enable_modelarts=True", "--train_url=a"], "--data_url is missing; a job of ModelArts needs it"),
        ([EXPORT, "--enable_modelarts=True"], "--train_url is missing; a job of ModelArts needs it"),
        ([PREDICT], "--model_path is missing; expected: model package"),
        ([PREDICT, "--model_path=a", "--input_path=-", "--output_path=b"], "--model_path=a: no such file or folder"),
        ([PREPROCESS], "--dataset_path=./data/mindrecord: no such file or folder"),
        ([POSTPROCESS, f"--result_path={ROOT}", "--label_path=a"], "--label_path=a: no such file or folder"),
        ([RECORDS, "--data_path=none"], "--data_path=none: no such file or folder"),
        ([RECORDS, "--dense_dim=x"], "--dense_dim=x: must be a whole number"),
        ([*GENERATE, "--rows=0"], "--rows=0 --seed=1: rows is at least 1"),
        ([*GENERATE, "--rows=x"], "argument --rows: invalid int value: 'x'"),
        ([*INFER, "log.csv", "--rows=0"], "--rows=0: must be at least 1"),
        ([*INFER, "log.csv", f"--out={ROOT / 'README.md'}"], f"--out={ROOT / 'README.md'} exists"),
        ([*SELF_TEST, "--device_target=Ascend"], "--device_target=Ascend: this machine has no /dev/*davinci"),
        ([*SUMMARISE], "the following arguments are required: WORK_FOLDER"),
    ],
)
def test_a_mistake_in_the_command_line_imports_nothing_heavy(answer, command, message):
    status, output, messages, packages = answer(*command)
    assert (status, output, len(messages)) == (2, "", 1)
    assert messages[0].startswith(f"error: {message}")
    assert not packages & HEAVY


def test_a_job_names_the_flags_that_it_ignores_once(run):
    code = "from src.distributed.entry_point import enter\nenter('')\nfrom src.config import load_config\nload_config()"
    finished = run("-c", code, "--enable_modelarts=True", "--platform_token=secret")
    assert finished.stdout == "ignored, not settings of this script: --platform_token\n"


@pytest.mark.parametrize("command", [[TRAIN, "--help"], [TRAIN, "--bach_size=1"], [*GENERATE, "--help"]])
def test_the_answer_takes_less_than_a_second(command):
    """On a machine that is busy, or slower, as many times longer as Python itself takes to start."""
    assert shortest_seconds(*command) < max(LIMIT_SECONDS, 10 * shortest_seconds("-c", "import yaml"))


def shortest_seconds(*command):
    """Return the least time of three runs: the others have waited for the processor."""
    return min(seconds(command) for _ in range(3))


def seconds(command):
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, check=False)
    return time.perf_counter() - start
