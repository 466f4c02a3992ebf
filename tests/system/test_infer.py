# SPDX-License-Identifier: Apache-2.0
"""Export, and the C++ runner with the real MindSpore Lite of the CPU, as a user runs them."""

import ast
import dataclasses
import json
import os
import pathlib
import pty
import random
import re
import shutil
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from mindspore import Tensor, nn
from mindspore.train import mind_ir_pb2

from src.criteo_like import write_rows
from src.data_identity import DataIdentity, read_text_digest
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.export.formats import write
from tests.conftest import ROOT, make_rows
from tests.processes import assert_refused

BATCH_ROWS = 64
RUNNER = ROOT / "ascend310_infer" / "out" / "main"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run):
    """A folder with data/mindrecord and the checkpoints of a short training."""
    work = tmp_path_factory.mktemp("infer")
    write_rows(work / "data" / "train.txt", 6000, seed=2)
    flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")
    training = ("--dataset_path=data/mindrecord", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=16,8",
                "--learning_rate=0.01", "--train_epochs=2", "--device_target=CPU")  # fmt: skip
    for script, *arguments in (("src/preprocess_data.py", "--data_path=data", *flags), ("train.py", *training)):
        finished = run(ROOT / script, *arguments, cwd=work)
        assert finished.returncode == 0, finished.stderr
    return work


def export(run, work, *flags):
    return run(
        ROOT / "export.py", "--ckpt_file=checkpoint", "--dataset_path=data/mindrecord", "--device_target=CPU", *flags,
        cwd=work,
    )  # fmt: skip


def infer(work, *arguments, stderr=subprocess.PIPE):
    environment = {**os.environ, "DEVICE_TARGET": "CPU"}
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", ROOT / "scripts" / "run_infer_310.sh", *arguments]
    return subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def inferred(trained, run):
    """The same folder after export and inference; model.mindir is of version 1, model3.mindir of version 3."""
    for name, version in (("model", 1), ("model3", 3)):
        flags = (f"--batch_size={BATCH_ROWS}", f"--mindir_version={version}", f"--file_name={name}")
        finished = export(run, trained, *flags)
        assert finished.returncode == 0, finished.stderr
        pattern = (
            r"on 1,000 probe rows and \d+ validation rows:\n  probabilities differ by at most \d\.\de.*, the AUC by"
        )
        assert re.search(pattern, finished.stdout)
    finished = infer(trained, "model.mindir", "data/mindrecord", "y")
    assert finished.returncode == 0, finished.stderr + (trained / "infer.log").read_text()
    assert re.search(r"batches of 64 rows: \d+, ms each: mean [\d.]+, p50 [\d.]+, p90 .*; rows/s \d+", finished.stdout)
    return trained


def test_the_runner_scores_as_eval_does(inferred, run):
    name, auc = (inferred / "acc.log").read_text().split(" : ")
    evaluated = run(
        ROOT / "eval.py", "--dataset_path=data/mindrecord", "--checkpoint_path=checkpoint", "--batch_size=200",
        "--device_target=CPU", cwd=inferred,
    )  # fmt: skip
    assert name == "auc"
    assert float(auc) == pytest.approx(float(re.search(r"'AUC': ([\d.]+)", evaluated.stdout)[1]), abs=1e-6)


def test_a_terminal_shows_how_far_the_runner_is(inferred):
    controller, terminal = pty.openpty()
    infer(inferred, "model.mindir", "data/mindrecord", "n", stderr=terminal)
    os.close(terminal)
    shown = os.read(controller, 10_000).decode()
    os.close(controller)
    assert "\rpredict: 1 of 1 files" in shown
    assert shown.endswith("\r\033[K")
    assert "predict:" not in (inferred / "infer.log").read_text()


def test_the_runner_s_probabilities_are_those_of_the_checkpoint(inferred, cpu):
    from src.checkpoint import find_checkpoint

    checkpoint = find_checkpoint(inferred / "checkpoint")
    predictor = DeepFMPredict(checkpoint.load_network())
    manifest = json.loads((inferred / "preprocess_Result" / "manifest.json").read_text())
    assert manifest["rows"] % BATCH_ROWS  # the last batch has to be filled up
    for file in manifest["files"]:
        inputs = [
            np.fromfile(inferred / "preprocess_Result" / folder_name / file["name"], dtype).reshape(file["rows"], -1)
            for folder_name, dtype in (("00_sparse_ids", np.int32), ("01_dense_values", np.float32))
        ]
        expected = predictor(*map(Tensor, inputs)).asnumpy().ravel()
        found = np.fromfile(inferred / "result_Files" / file["name"], np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not (inferred / "result_Files.partial").exists()


def test_a_model_that_the_runtime_cannot_read_names_the_version_to_export(inferred):
    finished = infer(inferred, "model3.mindir", "data/mindrecord", "n")
    assert_refused(finished, "error: model3.mindir: MindSpore Lite cannot build it", "export.py --mindir_version=1")
    assert not (inferred / "result_Files").exists()
    assert not (inferred / "acc.log").exists()


def test_the_script_refuses_data_of_another_vocabulary(inferred, make_dataset, tmp_path):
    other = make_dataset("--dense_dim=13", "--slot_dim=26", content=make_rows(1203, 13, 26, seed=77))
    finished = infer(tmp_path, inferred / "model.mindir", other, "y")
    assert_refused(finished, "model.mindir was trained on other data than", "dense_scales", "vocabulary_sha256")
    assert not (tmp_path / "result_Files").exists()
    assert not (tmp_path / "acc.log").exists()


@pytest.mark.slow
def test_the_script_shows_the_warning_of_a_model_without_identity(inferred, tmp_path):
    model = mind_ir_pb2.ModelProto.FromString((inferred / "model.mindir").read_bytes())
    model.user_info.clear()
    (tmp_path / "old.mindir").write_bytes(model.SerializeToString())
    finished = infer(tmp_path, "old.mindir", inferred / "data" / "mindrecord", "y")
    assert finished.returncode == 0, finished.stderr
    warnings = finished.stderr.splitlines()
    assert len(warnings) == 2  # of the runner and of postprocess.py
    assert all(line.startswith("warning: ") and line.endswith(UNKNOWN) for line in warnings)
    assert re.fullmatch(r"auc : 0\.\d+\n", (tmp_path / "acc.log").read_text())


def test_a_model_is_exported_where_there_are_only_the_checkpoints(inferred, run, tmp_path):
    shutil.copytree(inferred / "checkpoint", tmp_path / "checkpoint")
    command = ("--ckpt_file=checkpoint", "--file_name=deepfm", "--file_format=MINDIR")  # that of the model zoo
    finished = run(ROOT / "export.py", *command, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "compared with the checkpoint on 1,000 probe rows:" in finished.stdout
    (tmp_path / "checkpoint" / "probe_rows.npz").unlink()  # as an older training left it
    finished = run(ROOT / "export.py", *command, "--batch_size=100", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "compared with the checkpoint on 1,000 probe rows:" in finished.stdout
    assert {path.name for path in tmp_path.iterdir()} - {"rank_0", "kernel_meta"} == {"checkpoint", "deepfm.mindir"}


def test_other_data_are_noted_in_the_default_folder_and_refused_where_they_are_named(inferred, run, dataset, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mindrecord").symlink_to(dataset)
    command = (f"--ckpt_file={inferred / 'checkpoint'}", "--batch_size=100", "--device_target=CPU")
    finished = run(ROOT / "export.py", *command, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "note: validation rows are not compared: " in finished.stdout
    assert "was trained on other data than ./data/mindrecord" in finished.stdout
    (tmp_path / "deepfm.mindir").unlink()
    for path in ("data/mindrecord", "none"):
        finished = run(ROOT / "export.py", *command, f"--dataset_path={path}", cwd=tmp_path)
        assert_refused(
            finished, "was trained on other data than" if path != "none" else "none holds no dataset_meta.json"
        )
    assert not (tmp_path / "deepfm.mindir").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ""),
        (["none.mindir", "data/mindrecord", "y"], "error: MINDIR_PATH none.mindir: no such file"),
        (["data/train.txt", "none", "y"], "error: DATASET_PATH none: no such folder"),
        (["data/train.txt", "data", "yes"], "error: NEED_PREPROCESS yes: must be y or n"),
        (["data/train.txt", "data", "y", "x"], "error: DEVICE_ID x: must be a whole number"),
    ],
)
def test_wrong_arguments_end_in_the_usage(trained, arguments, message):
    finished = infer(trained, *arguments)
    lines = finished.stderr.splitlines()
    assert finished.returncode == 2
    assert not message or lines.pop(0) == message
    assert lines[0].startswith("usage: bash scripts/run_infer_310.sh MINDIR_PATH")


def test_without_a_runtime_building_says_how_to_get_one(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("LITE_HOME", "MS_LITE_HOME")}
    command = ["bash", ROOT / "ascend310_infer" / "build.sh"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert_refused(finished, "error: LITE_HOME is not set", "scripts/get_mindspore_lite.sh")
    finished = subprocess.run(
        command, env={**environment, "LITE_HOME": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert finished.returncode != 0
    assert f"LITE_HOME={tmp_path} holds neither" in " ".join(finished.stderr.split())


def test_exports_that_cannot_be_end_in_a_line_and_leave_no_file(trained, run):
    before = set(trained.iterdir())
    assert_refused(export(run, trained, "--ckpt_file=none.ckpt"), "--ckpt_file=none.ckpt: no such file or folder")
    assert_refused(export(run, trained, "--file_format=AIR"), "--file_format=AIR needs an Ascend machine")
    assert set(trained.iterdir()) - before <= {trained / "rank_0", trained / "kernel_meta"}


ROWS = 10
IDENTITY = DataIdentity("ab12", ("C1", "C2", "C3"), ("I1", "I2"), "log", ((2.5, 0.75), (1.0, 2.0)), 20)
UNKNOWN = "does not say which data it belongs to, so it is not checked that the model was trained on such data"


@pytest.fixture(scope="module")
def files(inferred, tmp_path_factory, cpu):
    """A folder with inputs of ROWS rows, ids/ and values/, for the model small.mindir of batches of 4 rows."""
    folder = tmp_path_factory.mktemp("files")
    network = DeepFM(DeepFMConfig(20, 3, 2, 4, (5,)))
    network.fold()
    write("MINDIR", DeepFMPredict(network), 4, folder / "small.mindir", 1)
    write("MINDIR", DeepFMPredict(network), 4, folder / "known.mindir", 1, IDENTITY.to_metadata())
    for name, content in (("ids", np.zeros((ROWS, 3), np.int32)), ("values", np.zeros((ROWS, 2), np.float32))):
        (folder / name).mkdir()
        content.tofile(folder / name / "a.bin")
    (folder / "empty").mkdir()
    return folder


def call(folder, *arguments, ids="ids", values="values", model="small.mindir"):
    command = [RUNNER, f"--mindir_path={model}", f"--input0_path={ids}", "--output_path=out", "--device_target=CPU"]
    if values:
        command.append(f"--input1_path={values}")
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_runner_writes_a_probability_for_each_row_and_replaces_what_was_there(files):
    (files / "out").mkdir()
    (files / "out" / "old.bin").write_text("old")
    finished = call(files, "--threads=1", "--warmup=0")
    assert finished.returncode == 0
    assert finished.stderr == f"warning: small.mindir {UNKNOWN}\nwarning: {files} {UNKNOWN}\n"
    assert finished.stdout.startswith("rows: 10, files: 1\nbatches of 4 rows: 3, ms each: mean ")
    assert [path.name for path in (files / "out").iterdir()] == ["a.bin"]
    assert len(np.fromfile(files / "out" / "a.bin", np.float32)) == ROWS


def bad_inputs(folder, name, content, file="a.bin"):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_bytes(content)
    return name


def refused(folder, message, *arguments, **inputs):
    """Check that the runner ends with status 2 and one line, and that nothing is left of its output."""
    before = sorted((folder / "out").iterdir()) if (folder / "out").exists() else None
    finished = call(folder, *arguments, **inputs)
    assert finished.returncode == 2
    assert finished.stdout == ""
    *warnings, error = finished.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert error.startswith("error: ")
    assert message in error
    assert not (folder / "out.partial").exists()
    assert (sorted((folder / "out").iterdir()) if (folder / "out").exists() else None) == before


def test_the_runner_refuses_inputs_that_are_not_rows_of_the_model(files):
    refused(files, "none: no such folder", ids="none")
    refused(files, "empty holds no .bin file; preprocess.py writes them", ids="empty")
    refused(files, "must hold files of the same names", values=bad_inputs(files, "renamed", b"1234", "b.bin"))
    truncated = bad_inputs(files, "truncated", bytes(ROWS * 12 - 1))
    refused(files, "truncated/a.bin holds 119 bytes; a row of the model's input has 12", ids=truncated)
    refused(files, "nothing/a.bin holds 0 bytes", ids=bad_inputs(files, "nothing", b""))
    fewer = bad_inputs(files, "fewer", bytes((ROWS - 1) * 8))
    refused(files, "fewer/a.bin holds 9 rows, the file of that name in ids 10", values=fewer)
    refused(files, "has 2 inputs, but 1 folders of them are given", values=None)


def inputs_of(folder, name, ids, values, identity=IDENTITY):
    """Return a new folder as preprocess.py writes it, of one file of each input; identity: None for none."""
    for part, content, dtype in (("00_sparse_ids", ids, np.int32), ("01_dense_values", values, np.float32)):
        (folder / name / part).mkdir(parents=True)
        np.array(content, dtype).tofile(folder / name / part / "a.bin")
    if identity is not None:
        identity.save_text(folder / name)
    return {"ids": f"{name}/00_sparse_ids", "values": f"{name}/01_dense_values"}


def test_inputs_of_the_same_data_pass_without_a_word_and_the_output_says_which_they_are(files):
    finished = call(files, model="known.mindir", **inputs_of(files, "same", np.zeros((5, 3)), np.zeros((5, 2))))
    assert (finished.returncode, finished.stderr) == (0, "")
    assert read_text_digest(files / "out") == IDENTITY.digest()


def test_inputs_of_other_data_are_refused_and_the_difference_is_named(files):
    other = dataclasses.replace(IDENTITY, vocabulary_sha256="ab13", dense_scales=((2.5, 0.75), (1.0, 3.0)))
    inputs = inputs_of(files, "other", np.zeros((5, 3)), np.zeros((5, 2)), other)
    refused(
        files,
        f"known.mindir was trained on other data than {files}/other: dense_scales, vocabulary_sha256 differ "
        f"({IDENTITY.digest()[:12]} and {other.digest()[:12]})",
        model="known.mindir",
        **inputs,
    )
    same = inputs_of(files, "mixed", np.zeros((5, 3)), np.zeros((5, 2)))
    refused(files, "was trained on other data than", model="known.mindir", ids=same["ids"], values=inputs["values"])


def test_without_identity_on_one_side_there_is_a_warning(files):
    unknown = inputs_of(files, "unknown", np.zeros((5, 3)), np.zeros((5, 2)), None)
    finished = call(files, model="known.mindir", **unknown)
    assert (finished.returncode, finished.stderr) == (0, f"warning: {files}/unknown {UNKNOWN}\n")
    assert read_text_digest(files / "out") == IDENTITY.digest()
    finished = call(files, **inputs_of(files, "known", np.zeros((5, 3)), np.zeros((5, 2))))
    assert (finished.returncode, finished.stderr) == (0, f"warning: small.mindir {UNKNOWN}\n")
    assert read_text_digest(files / "out") is None
    (files / "unknown" / "data_identity.txt").write_text("vocabulary_size=20\n")
    refused(files, "data_identity.txt is damaged", model="known.mindir", **unknown)


@pytest.mark.parametrize(
    ("model", "number", "refusal"),
    [
        ("known.mindir", 19, None),
        ("known.mindir", 20, "the id 20 is not one of the 20 ids of the model's table"),
        ("known.mindir", 2**31 - 1, "the id 2147483647 is not"),
        ("known.mindir", -1, "the id -1 is not"),
        ("small.mindir", -(2**31), "the id -2147483648 is not"),
    ],
)
def test_ids_outside_the_table_are_refused_with_file_row_and_column(files, model, number, refusal):
    name = f"id{number}{model}"
    ids = np.zeros((5, 3))
    ids[3, 1] = number
    inputs = inputs_of(files, name, ids, np.zeros((5, 2)))
    if refusal:
        refused(files, f"{name}/00_sparse_ids/a.bin: row 4, column 2: {refusal}", model=model, **inputs)
    else:
        assert call(files, model=model, **inputs).returncode == 0


@pytest.mark.parametrize(("number", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_dense_values_that_are_not_finite_are_refused_with_file_row_and_column(files, number, shown):
    values = np.zeros((5, 2))
    values[2, 1] = number
    inputs = inputs_of(files, f"value{shown}", np.zeros((5, 3)), values)
    refused(files, f"a.bin: row 3, column 2: the dense value {shown} is not finite", model="known.mindir", **inputs)


def test_folders_that_are_swapped_are_refused_though_their_rows_have_the_right_size(files):
    inputs = inputs_of(files, "swapped", np.zeros((6, 3)), np.zeros((9, 2)))
    shutil.copytree(files / "swapped" / "01_dense_values", files / "swapped" / "02_labels")
    refused(
        files, "--input0_path=swapped/01_dense_values: must be the folder 00_sparse_ids, not 01_dense_values",
        ids=inputs["values"], values=inputs["ids"], model="known.mindir",
    )  # fmt: skip
    refused(
        files, "--input1_path=swapped/02_labels: must be the folder 01_dense_values, not 02_labels",
        ids=inputs["ids"], values="swapped/02_labels", model="known.mindir",
    )  # fmt: skip


def test_metadata_that_are_damaged_crash_neither_the_runner_nor_pass_as_another_identity(files):
    whole = (files / "known.mindir").read_bytes()
    begin = whole.index(b"data_identity") - 8
    dice = random.Random(1)
    inputs = inputs_of(files, "damaged", np.zeros((5, 3)), np.zeros((5, 2)))
    for _ in range(4):
        content = bytearray(whole)
        if dice.random() < 0.4:
            del content[dice.randrange(begin, len(whole)) :]
        else:
            content[dice.randrange(begin, len(whole))] = dice.randrange(256)
        (files / "damaged.mindir").write_bytes(content)
        finished = call(files, model="damaged.mindir", **inputs)
        assert finished.returncode in (0, 2), finished.stderr


@pytest.mark.slow
def test_the_runner_reads_of_a_mindir_what_protobuf_reads(tmp_path):
    """With AddressSanitizer, on files that are damaged at random; where protobuf refuses a file, any answer will do."""
    driver = r"""
    #include <iostream>
    #include "metadata.h"
    std::string Escaped(const std::string &text) {
      std::string numbers;
      for (const unsigned char byte : text) numbers += std::to_string(byte) + ",";
      return "(" + numbers + ")";
    }
    int main(int argc, char **argv) {
      for (int file = 1; file < argc; ++file) {
        std::cout << "{";
        for (const auto &[name, value] : ReadModelMetadata(argv[file])) {
          std::cout << Escaped(name) << ":" << Escaped(value) << ",";
        }
        std::cout << "}\n";
      }
    }
    """
    (tmp_path / "driver.cc").write_text(driver)
    folder = ROOT / "ascend310_infer"
    command = ["g++", "-std=c++17", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover", f"-I{folder}/inc",
               tmp_path / "driver.cc", folder / "src" / "metadata.cc", "-o", tmp_path / "driver"]  # fmt: skip
    subprocess.run(command, check=True)
    dice = random.Random(2)
    model = mind_ir_pb2.ModelProto(ir_version="1", producer_name="x" * 300, mind_ir_version=2**62)
    model.graph.name = "y" * 200
    model.user_info.update(IDENTITY.to_metadata())
    whole, expected, paths = model.SerializeToString(), [], []
    for number in range(1000):
        content = bytearray(whole)
        for _ in range(dice.randrange(4)):
            content[dice.randrange(len(content))] = dice.randrange(128)
        if dice.random() < 0.3:
            del content[dice.randrange(len(content)) :]
        paths.append(tmp_path / f"{number}.mindir")
        paths[-1].write_bytes(content)
        try:
            expected.append(dict(mind_ir_pb2.ModelProto.FromString(bytes(content)).user_info))
        except (DecodeError, UnicodeDecodeError):
            expected.append(None)
    finished = subprocess.run([tmp_path / "driver", *paths], capture_output=True, text=True, check=True)
    found = [
        {bytes(name): bytes(value) for name, value in ast.literal_eval(line).items()}
        for line in finished.stdout.splitlines()
    ]
    known = [
        (ours, {name.encode(): value.encode() for name, value in theirs.items()})
        for ours, theirs in zip(found, expected, strict=True)
        if theirs is not None and "data_identity" in theirs
    ]
    assert len(known) > 300
    different = [pair for pair in known if pair[0] != pair[1]]
    assert not different, different[:3]


def test_the_runner_refuses_models_that_it_cannot_run(files):
    refused(files, "none.mindir: cannot be read", model="none.mindir")
    (files / "junk.mindir").write_bytes(b"junk")
    refused(files, "junk.mindir: MindSpore Lite cannot build it", model="junk.mindir")

    class TwoFloats(nn.Cell):
        def __init__(self):
            super().__init__()
            self.add = ms.ops.Add()

        def construct(self, sparse_ids, dense_values):
            return self.add(sparse_ids, dense_values)

    # A model of other types: both inputs are float32.
    from src.export.mindir import name_ends, to_old_version

    zeros = Tensor(np.zeros((4, 2), np.float32))
    ms.export(TwoFloats(), zeros, zeros, file_name=str(files / "floats"), file_format="MINDIR")
    name_ends(files / "floats.mindir", ["sparse_ids", "dense_values"], "probabilities")
    to_old_version(files / "floats.mindir")
    refused(files, "the model's input sparse_ids does not take sparse ids, int32 [B, S]", model="floats.mindir")


def test_the_runner_refuses_arguments_that_it_does_not_know(files):
    refused(files, "unknown argument --batch; --help lists the arguments", "--batch=3")
    refused(files, "--threads=0: must be a whole number of at least 1", "--threads=0")
    refused(files, "--warmup=x: must be a whole number", "--warmup=x")
    refused(files, "--device_target=GPU: must be Ascend or CPU", "--device_target=GPU")
    refused(files, "--input0_path is missing", ids="")
    finished = call(files, "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("usage: main --mindir_path=FILE")
