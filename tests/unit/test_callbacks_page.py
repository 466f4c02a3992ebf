# SPDX-License-Identifier: Apache-2.0
"""docs/callbacks.md: its example, its command, and its tables against a training."""

import re
import shlex
import sys

import pytest

import train
from src.callback import Callback
from src.common.errors import UserError
from src.common.signals import Stopped
from src.training.user_callbacks import load_callbacks
from tests.conftest import ROOT
from tests.training import Training, lines_of

PAGE = (ROOT / "docs" / "callbacks.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("seeded")


def block(language):
    (content,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return content


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The module of the page in the current folder."""
    (tmp_path / "my_callbacks.py").write_text(block("python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_callbacks", None)


@pytest.mark.slow
def test_the_command_trains_with_the_callbacks_of_the_example(example, dataset, tmp_path, capsys):
    command = shlex.split(block("bash"))
    assert command[:2] == ["python", "train.py"]
    small = ("--batch_size=50", "--embedding_size=2", "--hidden_sizes=3", "--device_target=CPU", "--report_path=none",
             "--train_epochs=2", "--log_every=1")  # fmt: skip
    flags = [flag.replace("./data/mindrecord", str(dataset)) for flag in command[2:]]
    train.main([*flags, *small])
    printed = capsys.readouterr().out
    losses = [float(line.rsplit(" ", 1)[1]) for line in lines_of(tmp_path / "loss.log")]
    for epoch, part in ((1, losses[:20]), (2, losses[20:])):
        found = re.search(rf"^epoch {epoch}: mean loss (.*)$", printed, re.MULTILINE)
        assert float(found[1]) == pytest.approx(sum(part) / 20, abs=6e-5)


class StopAt(Callback):
    """Sends a signal after a step."""

    def __init__(self, step):
        self.step = step

    def on_train_step_end(self, run_context):
        if run_context.original_args().cur_step_num == self.step:
            self.training.signals.number = 15


@pytest.mark.parametrize("step", [7, 20])
def test_the_example_resumes_exactly(example, dataset, tmp_path, capsys, step):
    def means(training):
        return [line for line in capsys.readouterr().out.splitlines() if ": mean loss " in line]

    expected = means(Training(dataset, tmp_path / "undisturbed", epochs=2, log_every=1, callbacks=ours()).fit())
    assert [line.split(":")[0] for line in expected] == ["epoch 1", "epoch 2"]
    stop = StopAt(step)
    training = stop.training = Training(dataset, tmp_path / "stopped", epochs=2, log_every=1, callbacks=[*ours(), stop])
    with pytest.raises(Stopped):
        training.fit()
    assert means(training) == []
    resumed = Training(dataset, tmp_path / "stopped", epochs=2, log_every=1, callbacks=ours()).resume()
    assert means(resumed) == expected


def ours():
    return load_callbacks(["my_callbacks:AverageLoss"])


def test_the_table_names_all_parameters(dataset, tmp_path):
    names = set()

    class Observer(Callback):
        def on_train_end(self, run_context):
            names.update(run_context.original_args())

    Training(dataset, tmp_path, callbacks=[Observer()]).fit()
    table = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    assert names == set(re.findall(r"`(\w+)`", " ".join(table)))


def test_the_page_names_all_hooks_in_the_order_of_their_calls(dataset, tmp_path):
    calls = []

    class Observer(Callback):
        def __enter__(self):
            calls.append("__enter__")

        def __exit__(self, *error):
            calls.append("__exit__")

    for hook in re.findall(r"^ +(\w+)|^(on_\w+)", block("text"), re.MULTILINE):
        name = "".join(hook)
        setattr(Observer, name, lambda self, run_context, name=name: calls.append(name))
    Training(dataset, tmp_path, callbacks=[Observer()]).fit()
    page = [line.split()[0] for line in block("text").splitlines()]
    step = ["on_train_step_begin", "on_train_step_end"]
    first = calls.index(step[0])
    assert calls[: first + 2] + calls[first + 2 + 2 * 19 :] == page[1:]


def test_a_callback_that_does_not_exist_is_refused_before_anything_else(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UserError, match="--callback=no_such:Own: cannot import no_such"):
        train.main(["--callback=no_such:Own", "--dataset_path=none"])
