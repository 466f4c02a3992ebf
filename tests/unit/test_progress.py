# SPDX-License-Identifier: Apache-2.0
import io
import re

from src.common.progress import Progress


def test_without_a_terminal_there_are_plain_lines(capsys, monkeypatch):
    monkeypatch.setattr("src.common.progress.SECONDS_BETWEEN_LINES", -1)
    progress = Progress("read", 400)
    progress.advance(100, "epoch 1")
    progress.advance(300)
    progress.close()
    first, _, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"read: 100 of 400 rows, [\d,]+ rows/s, [\d,]+ s left, epoch 1", first)
    assert re.fullmatch(r"read: 400 rows in [\d.]+ s, [\d,]+ rows/s, epoch 1", last)


def test_lines_are_rare(capsys):
    progress = Progress("read", 400)
    for _ in range(100):
        progress.advance(1)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress("train", 2000)
    progress.advance(2000, "loss 0.4")
    progress.close()
    shown = terminal.getvalue()
    assert "100%" in shown
    assert "rows/s" in shown
    assert "loss 0.4" in shown
    assert "\n" in shown


def test_without_leave_nothing_stays_on_the_screen(monkeypatch, capsys):
    Progress("validation", 3, leave=False).close()
    assert capsys.readouterr().out == ""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress("validation", 3, leave=False)
    progress.advance(3)
    progress.close()
    assert "validation" in terminal.getvalue()
    assert terminal.getvalue().rsplit("\r", 1)[1].strip() == ""
    assert "\n" not in terminal.getvalue()


def test_a_disabled_one_shows_nothing(monkeypatch, capsys):
    monkeypatch.setattr("src.common.progress.SECONDS_BETWEEN_LINES", -1)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = Progress("validation", 3, disable=True)
    progress.advance(3)
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_the_estimated_total_is_updated_and_the_rate_is_that_of_this_run(capsys, monkeypatch):
    monkeypatch.setattr("src.common.progress.SECONDS_BETWEEN_LINES", -1)
    times = iter([0.0, 10.0, 10.0, 20.0, 20.0, 30.0])
    monkeypatch.setattr("src.common.progress.time.monotonic", lambda: next(times))
    progress = Progress("read", 0, done=1000)
    progress.advance(500, total=3000)
    progress.advance(500, total=2500)
    progress.close()
    assert capsys.readouterr().out.splitlines() == [
        "read: 1,500 of about 3,000 rows, 50 rows/s, 30 s left, some of it by an earlier run",
        "read: 2,000 of about 2,500 rows, 50 rows/s, 10 s left, some of it by an earlier run",
        "read: 2,000 of about 2,500 rows, 33 rows/s, 15 s left, some of it by an earlier run",
    ]


def test_a_bar_takes_an_estimated_total(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress("read", 0, done=1000)
    progress.advance(1000, total=4000)
    progress.close()
    assert "50%" in terminal.getvalue()
