# SPDX-License-Identifier: Apache-2.0
import sys

import mindspore.train
import pytest

from src.common.errors import UserError
from src.training.user_callbacks import load_callbacks

MODULE = """
import mindspore.train
from src.callback import Callback

class Own(Callback):
    pass

class WithArgument(Callback):
    def __init__(self, count):
        self.count = count

def make():
    return WithArgument(7)

NUMBER = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the current folder, which is not on Python's path."""
    (tmp_path / "own_callbacks.py").write_text(MODULE)
    (tmp_path / "broken_callbacks.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("own_callbacks", None)


def test_callbacks_are_constructed_in_the_order_of_their_names(module):
    callbacks = load_callbacks(("own_callbacks:make", "own_callbacks:Own", "mindspore.train:TimeMonitor"))
    assert [type(each).__name__ for each in callbacks] == ["WithArgument", "Own", "TimeMonitor"]
    assert callbacks[0].count == 7
    assert isinstance(callbacks[2], mindspore.train.TimeMonitor)
    assert load_callbacks(()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_callbacks", "must have the form package.module:Name"),
        ("own_callbacks:", "must have the form package.module:Name"),
        ("no_such:Own", "cannot import no_such: ModuleNotFoundError: No module named 'no_such'"),
        ("broken_callbacks:Own", "cannot import broken_callbacks: SyntaxError: .*line 1"),
        ("own_callbacks:Other", "own_callbacks has no Other"),
        ("own_callbacks:WithArgument", r"WithArgument\(\) fails: TypeError: .*missing 1 required.* made by a function"),
        ("own_callbacks:NUMBER", r"NUMBER\(\) fails: TypeError: 'int' object is not callable"),
        ("builtins:dict", r"dict\(\) is of type dict, not a Callback"),
    ],
)
def test_a_name_that_is_not_of_a_callback_is_refused(module, name, message):
    with pytest.raises(UserError, match=f"--callback={name}: .*{message}|--callback={name}: {message}"):
        load_callbacks(("own_callbacks:Own", name))
