# SPDX-License-Identifier: Apache-2.0
"""The product from end to end: generated rows through preprocessing, training and evaluation, as a user runs them."""

import ast
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from src.common.signals import Stopped, cleaned_up, on_signal, signals_for_children
from src.distributed.environment import without_launcher
from src.self_test.check import Result, Status, verdict

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ROWS, SEED = 20_000, 1
PREPROCESSING = ("--threshold=10", "--line_per_sample=100", f"--train_line_count={ROWS}")
NETWORK = ("--embedding_size=8", "--hidden_sizes=64,32", "--learning_rate=0.003", "--train_epochs=3")
BATCH_SIZE = "--batch_size=1000"
# The AUC of five dropout seeds has a standard deviation of 0.0015, and the masks of Ascend are other ones.
AUC_TOLERANCE = 0.01
OUTPUT_LINES = 400  # of a command that fails, for the file; MindSpore's stack follows its message
ERROR_LINE = re.compile(r"(error: |\w*Error: |E[0-9A-Z]{5}: )")  # of this product, of Python, and of CANN


class CommandFailed(Exception):
    """A command has ended with another status than 0.  The message has its last error; output: its last lines."""

    def __init__(self, name: str, status: int, output: str):
        self.output = output.splitlines()[-OUTPUT_LINES:]
        super().__init__(f"{name} has ended with status {status}: {last_error(self.output)}")


def last_error(lines: Sequence[str]) -> str:
    """Return the last line that begins as an error does, else the last one that is not blank."""
    backwards = [line.strip() for line in reversed(lines) if line.strip()]
    return next(filter(ERROR_LINE.match, backwards), backwards[0] if backwards else "no output")


def check_commands(flags: Sequence[str], reference: dict) -> Result:
    """Compare the AUC of the test set with that of the CPU.  flags: of the device, as a user gives them."""
    try:
        metrics = run_commands(flags)
    except CommandFailed as error:
        return Result(Status.FAIL, str(error), {"output": error.output})
    return judge_metrics(metrics, reference["test_metrics"])


def judge_metrics(metrics: dict, expected: dict) -> Result:
    """Compare the metrics of eval.py with those of the CPU."""
    difference = metrics["AUC"] - expected["AUC"]
    text = f"test AUC {metrics['AUC']:.4f}, on the CPU {expected['AUC']:.4f}; may differ by {AUC_TOLERANCE}"
    return verdict(abs(difference) <= AUC_TOLERANCE, text, metrics=metrics)


def run_commands(flags: Sequence[str]) -> dict:
    """Preprocess, train and evaluate in a temporary folder; return the metrics of the test set that eval.py prints."""
    with scratch_folder() as folder:
        data = f"--dataset_path={folder}/mindrecord"
        _run(folder, "-m", "src.criteo_like", f"--rows={ROWS}", f"--seed={SEED}", f"--out={folder}/train.txt")
        _run(folder, ROOT / "src" / "preprocess_data.py", f"--data_path={folder}", *PREPROCESSING)
        _run(folder, ROOT / "train.py", data, BATCH_SIZE, *NETWORK, "--report_path=none", *flags)
        output = _run(folder, ROOT / "eval.py", data, BATCH_SIZE, "--report_path=none", *flags)
    result = re.search(r"^(\{'result': .*\})$", output, re.M)
    if result is None:
        raise CommandFailed("eval.py", 0, output)
    return ast.literal_eval(result[1])["result"]


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a temporary folder, which is removed after the `with` block, after a signal too."""
    with (
        tempfile.TemporaryDirectory(prefix="self_test-") as folder,
        cleaned_up(lambda: shutil.rmtree(folder, ignore_errors=True)),
    ):
        yield folder


def _run(folder, *command):
    """Run a Python script to its end, in a folder; return its output."""
    name = next(str(part) for part in command if part != "-m").removeprefix(f"{ROOT}/")
    print(f"running {name}", flush=True)
    environment = without_launcher()
    paths = [str(ROOT), environment.get("PYTHONPATH")]  # CANN has its Python packages there
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with signals_for_children():
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    output = _wait(process)
    if process.returncode:
        raise CommandFailed(name, process.returncode, output)
    return output


def _wait(process):
    """Return the output of a process when it has ended; raise Stopped, and kill it, if a signal comes before that."""
    numbers = []

    def end(number):
        numbers.append(number)
        process.kill()

    on_signal(end)
    try:
        output, _ = process.communicate()
    finally:
        on_signal(None)
    if numbers:
        raise Stopped(numbers[0])
    return output
