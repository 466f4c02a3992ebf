# SPDX-License-Identifier: Apache-2.0
"""Two real ranks with --shard_embedding=True: each holds, saves and loads a part of the embedding tables."""

import signal

import numpy as np
import pytest

from src.checkpoint import find_checkpoint
from tests.conftest import ROOT
from tests.two_ranks import (
    evaluate_with_two_ranks,
    finish_two_ranks,
    make_even_data,
    ranks_of,
    read_losses,
    read_model,
    read_result,
    read_validations,
    start_two_ranks,
    wait_for_steps,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cpu")]
# 5 columns are no multiple of 2.  The third validation is worse, so that the rate falls and training ends early.
FLAGS = ("--embedding_size=5", "--hidden_sizes=16,8", "--keep_prob=0.9", "--embedding_keep_prob=0.9", "--l2_coef=1e-3",
         "--learning_rate=0.03", "--epsilon=1e-4", "--clip_norm=1", "--ema_decay=0.8", "--lr_schedule=plateau",
         "--early_stop_patience=3", "--log_every=1", "--eval_every_steps=7", "--train_epochs=4",
         "--keep_checkpoint_max=2", "--report_path=none")  # fmt: skip
CUT = "--shard_embedding=True"


@pytest.fixture(scope="module")
def data(tmp_path_factory, run):
    return make_even_data(tmp_path_factory.mktemp("data"), run)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder of a training in which each rank holds whole tables."""
    folder = tmp_path_factory.mktemp("whole")
    finish_two_ranks(data, folder, *FLAGS)
    return folder


@pytest.fixture(scope="module")
def cut(data, tmp_path_factory):
    """The folder of the same training in which each rank holds a part of the tables."""
    folder = tmp_path_factory.mktemp("cut")
    finish_two_ranks(data, folder, *FLAGS, CUT)
    return folder


def files_of(folder):
    """Return the names of the files of all checkpoints in a folder, and their SHA-256 in model.json."""
    entries = [file for each in read_model(folder)["checkpoints"] for file in [each, *each.get("parts", [])]]
    return {entry["file"]: entry["sha256"] for entry in entries}


def weights_of(folder):
    checkpoint = find_checkpoint(folder / "checkpoint" / read_model(folder)["checkpoints"][-1]["file"])
    return {each.name: each.asnumpy() for each in checkpoint.load_network().trainable_params()}


def test_losses_validations_and_weights_are_those_of_whole_tables(whole, cut):
    steps, losses = read_losses(cut / "log0" / "loss.log")
    expected_steps, expected_losses = read_losses(whole / "log0" / "loss.log")
    assert steps == expected_steps
    assert 10 < len(steps) < 48  # stopped early
    assert losses == pytest.approx(expected_losses, rel=5e-6)
    assert read_validations(cut / "log0" / "auc.log") == read_validations(whole / "log0" / "auc.log")
    expected = weights_of(whole)
    for name, values in weights_of(cut).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_each_rank_writes_its_part_and_old_parts_are_removed(cut):
    model, files = read_model(cut), files_of(cut)
    assert model["format_version"] == 4
    assert {path.name for path in (cut / "checkpoint").glob("deepfm-*")} == files.keys()
    assert len(model["checkpoints"]) <= 3
    for each in model["checkpoints"]:
        stem = each["file"].removesuffix(".ckpt")
        assert [part["file"] for part in each["parts"]] == [f"{stem}.part-{rank}-of-2.safetensors" for rank in (0, 1)]
    assert "(one of 2 parts of the table of" in (cut / "log0" / "output.log").read_text()


def test_a_training_that_is_stopped_and_then_loses_a_rank_ends_as_the_undisturbed_one(cut, data, tmp_path):
    process = start_two_ranks(data, tmp_path, *FLAGS, CUT)
    wait_for_steps(4, tmp_path, process)  # of 24
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    done = len(read_losses(tmp_path / "log0" / "loss.log")[0])
    assert read_model(tmp_path)["checkpoints"][-1]["state"]["step"] == done
    process = start_two_ranks(data, tmp_path, *FLAGS, CUT, "--resume=True")
    wait_for_steps(done + 4, tmp_path, process)
    ranks_of(process)[1].kill()
    process.communicate(timeout=60)
    assert process.returncode == 1
    finish_two_ranks(data, tmp_path, *FLAGS, CUT, "--resume=True")
    assert files_of(tmp_path) == files_of(cut)
    assert {path.name for path in (tmp_path / "checkpoint").glob("deepfm-*")} == files_of(cut).keys()
    for log in ("loss.log", "auc.log"):
        assert read_validations(tmp_path / "log0" / log) == read_validations(cut / "log0" / log)


def test_one_process_resumes_it_and_two_with_parts_resume_that_again(cut, data, tmp_path, run):
    source = f"--checkpoint_path={cut / 'checkpoint'}"
    flags = [flag for flag in FLAGS if "patience" not in flag]
    done = read_model(cut)["checkpoints"][-1]["state"]["step"]
    finished = run(
        ROOT / "train.py", f"--dataset_path={data}", "--batch_size=200", "--device_target=CPU", *flags, source,
        f"--train_epochs={done // 12 + 1}", cwd=tmp_path,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert f"after step {done}\n" in finished.stdout
    model = read_model(tmp_path)
    assert model["format_version"] == 3
    assert model["checkpoints"][-1]["state"]["step"] == 24 * (done // 12 + 1)
    finish_two_ranks(data, tmp_path, *flags, CUT, "--resume=True", f"--train_epochs={done // 12 + 2}")
    model = read_model(tmp_path)
    assert model["format_version"] == 4
    assert model["checkpoints"][-1]["state"]["step"] == 12 * (done // 12 + 2)


def test_two_ranks_with_parts_evaluate_as_one_process(cut, data, tmp_path, run):
    flags = (f"--dataset_path={data}", "--batch_size=200", "--device_target=CPU", f"--checkpoint_path={cut}/checkpoint",
             "--importance_rows=301")  # fmt: skip
    single = run(ROOT / "eval.py", *flags, "--report_path=single.html", cwd=tmp_path)
    log, _ = evaluate_with_two_ranks(tmp_path, 8137, *flags, "--report_path=two.html", CUT)
    assert "evaluation (one of 2 parts of the table of" in log
    expected, found = read_result(single.stdout), read_result(log)
    assert expected["log_loss"] < 0.69
    for name in ("AUC", "log_loss", "calibration", "calibration_error"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name
    assert "Measured\non 301 rows" in (tmp_path / "single.html").read_text()
    assert "Measured\non 302 rows" in (tmp_path / "two.html").read_text()  # 151 of each rank


def test_parts_are_exported_as_one_model(cut, data, tmp_path, run):
    """export.py itself compares the model with the checkpoint."""
    flags = (f"--ckpt_file={cut / 'checkpoint'}", "--device_target=CPU", "--file_format=PACKAGE")
    exported = run(ROOT / "export.py", *flags, f"--file_name={tmp_path / 'model'}", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "compared with the checkpoint on 1,000 probe rows" in exported.stdout
    rows, scores = data.parent / "train.txt", tmp_path / "scores.csv"
    flags = (f"--model_path={tmp_path / 'model'}", f"--input_path={rows}", f"--output_path={scores}")
    assert run(ROOT / "predict.py", *flags, cwd=tmp_path).returncode == 0
    assert len(scores.read_text().splitlines()) == len(rows.read_text().splitlines()) + 1
