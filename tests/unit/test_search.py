# SPDX-License-Identifier: Apache-2.0
"""Searches whose trials follow a formula, in a real process and with a real journal."""

import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
from optuna.trial import TrialState

from src.common.errors import UserError
from src.common.signals import Stopped, StopSignals
from src.config import load_config
from src.dataset_meta import DatasetMeta
from src.tuning.console import describe
from src.tuning.finalists import candidates, choose
from src.tuning.outcome import Outcome
from src.tuning.page import write_page
from src.tuning.predictions import PredictionFiles
from src.tuning.recipe_file import write_recipe
from src.tuning.search import Limits, Search
from src.tuning.search_space import SearchSpace
from src.tuning.study import (
    FINAL,
    INTERRUPTED,
    JOURNAL_NAME,
    REASON,
    SECONDS,
    SEED,
    ask,
    begun,
    open_study,
    seconds_spent,
)
from src.tuning.trial_process import TrialProcess
from tests import trial_bodies
from tests.conftest import ROOT

FLAGS = ("--batch_size=100",)


def space_of(dataset, *flags):
    return SearchSpace.of(load_config([*FLAGS, *flags]), DatasetMeta.load(dataset), frozenset())


def search(folder, dataset, *flags, trials=20, seconds=1000.0, body=trial_bodies.quick, arguments=()):
    """Search, or resume; return the study."""
    space = space_of(dataset, *flags)
    study = open_study(folder, space.identity())
    with TrialProcess(body, *arguments) as process:
        Search(study, space, Limits(seconds, trials), process, PredictionFiles(folder), StopSignals()).run()
    return study


def course(study):
    """Return what happened in the trials that count: values, states, results and attributes but the time."""
    return [
        (trial.params, trial.state, trial.values, trial.intermediate_values,
         {key: value for key, value in trial.user_attrs.items() if key != SECONDS})
        for trial in begun(study)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return search(folder, dataset), folder


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(dataset, uninterrupted, tmp_path):
    study, _ = uninterrupted
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    assert course(search(tmp_path / "same", dataset)) == course(study)
    other = search(tmp_path / "other", dataset, "--seed=2")
    assert [trial.params for trial in begun(other)] != [trial.params for trial in begun(study)]


def test_the_number_of_trials_is_a_limit_and_the_finalists_come_on_top_with_two_more_seeds(uninterrupted, dataset):
    study, _ = uninterrupted
    searched = [trial for trial in begun(study) if FINAL not in trial.user_attrs]
    assert len(searched) == 20
    finals = [trial for trial in begun(study) if FINAL in trial.user_attrs]
    assert [trial.user_attrs[FINAL] for trial in finals] == [1] * 5 + [2] * 5
    best = sorted((trial for trial in searched if trial.state == TrialState.COMPLETE), key=lambda each: each.value)
    assert [trial.params for trial in finals[:5]] == [trial.params for trial in best[:5]]
    assert all(trial.state == TrialState.COMPLETE for trial in finals)  # none of them is pruned


def test_the_settings_are_drawn_jointly_after_the_start_up_trials(dataset, tmp_path):
    study, space = search(tmp_path, dataset, trials=14, seconds=1000), space_of(dataset)
    trial = ask(study, space.distributions, space.first_trials(), 1)
    assert trial.relative_params.keys() == space.distributions.keys()


def test_every_trial_has_a_seed_of_its_own(uninterrupted):
    assert [trial.user_attrs[SEED] for trial in begun(uninterrupted[0])] == list(range(1, 31))


def test_the_choice_is_the_finalist_of_the_lowest_mean(uninterrupted):
    study, _ = uninterrupted
    means = {}
    for trial in begun(study):
        if trial.state == TrialState.COMPLETE:
            means.setdefault(str(trial.params), []).append(trial.value)
    finalists = {params: sum(losses) / 3 for params, losses in means.items() if len(losses) == 3}
    chosen = choose(study)
    assert str(chosen.values) == min(finalists, key=finalists.get)
    assert chosen.log_loss == pytest.approx(min(finalists.values()))
    assert len(candidates(study)) == len(means)


def test_bad_trials_are_pruned_and_the_search_comes_closer_to_the_best_recipe(uninterrupted, dataset):
    study, _ = uninterrupted
    assert TrialState.PRUNED in {trial.state for trial in begun(study)}
    losses = [trial_bodies.log_loss_of(space_of(dataset).config_of(trial.params)) for trial in begun(study)]
    assert min(losses[12:20]) < min(losses[:12])  # those that learn from results, and those before


def test_a_search_that_is_killed_again_and_again_has_the_trials_of_one_that_is_not(uninterrupted, dataset, tmp_path):
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from tests.unit import test_search\n"
        "if __name__ == '__main__':\n"
        "    test_search.search(pathlib.Path(sys.argv[2]), sys.argv[3], arguments=(0.02,))\n"
    )
    folder = tmp_path / "search"
    folder.mkdir()
    (tmp_path / "script.py").write_text(code)
    for lines in (100, 400, 500):
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), str(ROOT), str(folder), str(dataset)], stdout=subprocess.PIPE
        )
        while process.poll() is None and count_lines(folder / JOURNAL_NAME) < lines:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    study = search(folder, dataset)
    assert sum(trial.user_attrs.get(REASON) == INTERRUPTED for trial in study.trials) >= 1
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    assert course(study) == course(uninterrupted[0])


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("cut", [1, 20])
def test_a_partial_last_line_and_a_lock_do_not_stop_a_resumed_search(uninterrupted, dataset, tmp_path, cut):
    study, folder = uninterrupted
    content = (folder / JOURNAL_NAME).read_bytes()
    (tmp_path / JOURNAL_NAME).write_bytes(content[:-cut])
    os.symlink("nowhere", tmp_path / f"{JOURNAL_NAME}.lock")
    shutil.copytree(folder / "predictions", tmp_path / "predictions")
    assert course(search(tmp_path, dataset)) == course(study)


@pytest.mark.parametrize("part", range(12))
def test_a_search_resumes_exactly_from_any_line_of_its_journal(uninterrupted, dataset, tmp_path, part):
    """A kill may come after any line: while a trial is made, validated or ended, and while one is enqueued."""
    study, folder = uninterrupted
    lines = (folder / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    kept = random.Random(part).randrange(len(lines) * part // 12, len(lines) * (part + 1) // 12)
    (tmp_path / JOURNAL_NAME).write_bytes(b"".join(lines[: max(kept, 3)]))  # three lines make the study
    shutil.copytree(folder / "predictions", tmp_path / "predictions")
    assert course(search(tmp_path, dataset)) == course(study)


def test_a_damaged_journal_is_refused(uninterrupted, dataset, tmp_path):
    lines = (uninterrupted[1] / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / JOURNAL_NAME).write_bytes(b"".join([*lines[:20], b"{damaged\n", *lines[20:]]))
    with pytest.raises(UserError, match=r"journal.log is damaged .*--overwrite=True"):
        search(tmp_path, dataset)


def test_a_search_is_not_resumed_with_other_settings(uninterrupted, dataset):
    with pytest.raises(UserError, match=r"--epsilon is 1e-06: the search in .* has 5e-08"):
        search(uninterrupted[1], dataset, "--epsilon=1e-6")


def test_the_time_of_earlier_runs_counts(uninterrupted, dataset, capsys):
    study, folder = uninterrupted
    spent = seconds_spent(study)
    assert 0 < spent < 1000
    resumed = search(folder, dataset, trials=0, seconds=spent)  # nothing is left
    assert len(resumed.trials) == len(study.trials)


def test_the_time_is_a_limit_and_some_of_it_is_left_for_the_finalists(dataset, tmp_path):
    study = search(tmp_path, dataset, trials=0, seconds=10.0, arguments=(0.01,))
    assert seconds_spent(study) < 12
    finals = [trial for trial in begun(study) if FINAL in trial.user_attrs]
    assert finals
    assert sum(trial.user_attrs[SECONDS] for trial in finals) < 0.5 * 10
    assert choose(study).trials[-1] in finals


@pytest.mark.parametrize("fault", ["status", "error"])
def test_failed_trials_do_not_end_a_search(dataset, tmp_path, capsys, fault):
    study = search(tmp_path, dataset, trials=6, body=trial_bodies.faulty, arguments=(fault,))
    states = [trial.state for trial in begun(study)]
    assert states[0] == TrialState.COMPLETE
    assert states[1:6] == [TrialState.FAIL] * 5
    assert capsys.readouterr().out.count("failed: ") == 5
    assert choose(study).values == begun(study)[0].params


def test_without_a_complete_trial_the_reasons_are_told(dataset, tmp_path):
    study = search(tmp_path, dataset, "--learning_rate=0.004", trials=3, body=trial_bodies.faulty, arguments=("bug",))
    with pytest.raises(UserError, match="none of 3 trials is complete: RuntimeError: a line"):
        Outcome.of(study, space_of(dataset, "--learning_rate=0.004"), PredictionFiles(tmp_path))


@pytest.mark.parametrize("trials", [1, 2, 20])
def test_a_search_of_any_length_has_a_recipe_a_page_and_a_summary(dataset, tmp_path, trials):
    study, space = search(tmp_path, dataset, trials=trials), space_of(dataset)
    outcome = Outcome.of(study, space, PredictionFiles(tmp_path))
    defaults = load_config([])
    write_page(tmp_path, outcome, defaults)
    write_recipe(tmp_path, outcome, defaults)
    page = (tmp_path / "tuning.html").read_text()
    figures = {1: 2, 2: 2 + len(space.distributions), 20: 3 + len(space.distributions)}  # with the importance, if known
    assert page.count("<figure>") == page.count("<svg ") == figures[trials]
    assert load_config([f"--config_path={tmp_path / 'best.yaml'}"]) == outcome.config
    assert len(describe(outcome, tmp_path).splitlines()) == 9


def test_a_signal_stops_the_search_and_its_trial_comes_again(dataset, tmp_path, uninterrupted):
    class StopInTheThirdTrial(StopSignals):
        def check(self):
            if len(begun(study)) == 3:
                raise Stopped(signal.SIGTERM)

    space = space_of(dataset)
    study = open_study(tmp_path, space.identity())
    with TrialProcess(trial_bodies.quick, 0.3) as process:
        parts = space, Limits(1000, 20), process, PredictionFiles(tmp_path), StopInTheThirdTrial()
        with pytest.raises(Stopped):
            Search(study, *parts).run()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2 + [TrialState.RUNNING]
    assert course(search(tmp_path, dataset)) == course(uninterrupted[0])
