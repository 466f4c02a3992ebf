# SPDX-License-Identifier: Apache-2.0
"""The C++ runner with the real MindSpore Lite of the CPU; its parts alone are tested in tests/unit/test_runner.py."""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.data_identity import DataIdentity, read_text_digest
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.export.formats import ExportOptions, export_model
from src.export.mindir import convert_to_old_version, rename_inputs_and_outputs
from tests.conftest import ROOT

ROW_COUNTS = {"a.bin": 10, "b.bin": 3}
IDENTITY = DataIdentity("ab12", ("C1", "C2", "C3"), ("I1", "I2"), "log", ((2.5, 0.75), (1.0, 2.0)), 20)
UNKNOWN = "has no data identity, so it is not checked that the model was trained on these data"


@pytest.fixture(scope="module")
def predictor(cpu):
    network = DeepFM(DeepFMConfig(20, 3, 2, 4, (5,)))
    random = np.random.default_rng(1)
    for parameter in network.trainable_params():
        parameter.set_data(Tensor(random.normal(0, 0.5, parameter.shape).astype(np.float32)))
    network.fold()
    return DeepFMPredict(network)


@pytest.fixture(scope="module")
def files(predictor, tmp_path_factory):
    """A folder with small.mindir and known.mindir of batches of 4 rows, and inputs in ids/ and values/."""
    folder = tmp_path_factory.mktemp("files")
    options = ExportOptions("MINDIR", 4, mindir_version=1)
    export_model(predictor, folder / "small.mindir", options)
    export_model(predictor, folder / "known.mindir", options, IDENTITY.to_metadata())
    random = np.random.default_rng(2)
    for name, count in ROW_COUNTS.items():
        write(folder / "ids" / name, random.integers(0, 20, (count, 3)), np.int32)
        write(folder / "values" / name, random.normal(0, 1, (count, 2)), np.float32)
    return folder


@pytest.fixture
def call(runner, files):
    """Return a function that runs the runner in `files`, and returns the finished process."""

    def call_runner(*arguments, ids="ids", values="values", model="small.mindir"):
        command = [runner, f"--mindir_path={model}", f"--input0_path={ids}", "--output_path=out", "--device_target=CPU"]
        if values:
            command.append(f"--input1_path={values}")
        return subprocess.run([*command, *arguments], cwd=files, capture_output=True, text=True, check=False)

    return call_runner


@pytest.fixture
def refuse(call, files):
    """Return a function that checks that the runner ends with status 2 and one line, and leaves its output alone."""

    def check_refusal(message, *arguments, **inputs):
        before = output_of(files)
        finished = call(*arguments, **inputs)
        assert finished.returncode == 2
        assert finished.stdout == ""
        *warnings, error = finished.stderr.splitlines()
        assert all(line.startswith("warning: ") for line in warnings)
        assert error.startswith("error: ")
        assert message in error
        assert output_of(files) == before
        assert not (files / "out.partial").exists()

    return check_refusal


def output_of(folder):
    """Return the files of the output by name, None without one."""
    out = folder / "out"
    return {path.name: path.read_bytes() for path in out.iterdir()} if out.exists() else None


def write(path, rows, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.array(rows, dtype).tofile(path)


def write_inputs(folder, ids, values, identity=IDENTITY):
    """Write a folder like those of preprocess.py, with one file of each input; return the arguments of `call`."""
    write(folder / "00_sparse_ids" / "a.bin", ids, np.int32)
    write(folder / "01_dense_values" / "a.bin", values, np.float32)
    if identity is not None:
        identity.save_text(folder)
    return {"ids": f"{folder.name}/00_sparse_ids", "values": f"{folder.name}/01_dense_values"}


def test_every_row_gets_the_probability_of_the_network_and_an_earlier_output_is_replaced(call, files, predictor):
    (files / "out").mkdir(exist_ok=True)
    (files / "out" / "old.bin").write_text("old")
    finished = call("--threads=1", "--warmup=0")
    assert finished.returncode == 0
    assert finished.stderr == f"warning: small.mindir {UNKNOWN}\nwarning: {files} {UNKNOWN}\n"
    # Batches of 4 rows: three of the ten rows in a.bin and one of the three in b.bin.
    assert finished.stdout.startswith("rows: 13, files: 2\nbatches of 4 rows: 4, ms each: mean ")
    assert sorted(output_of(files)) == sorted(ROW_COUNTS)
    for name, count in ROW_COUNTS.items():
        ids = np.fromfile(files / "ids" / name, np.int32).reshape(count, 3)
        values = np.fromfile(files / "values" / name, np.float32).reshape(count, 2)
        expected = predictor(Tensor(ids), Tensor(values)).asnumpy().ravel()
        np.testing.assert_allclose(np.fromfile(files / "out" / name, np.float32), expected, atol=1e-6)


def test_inputs_of_the_same_data_give_no_message_and_the_output_has_their_identity(call, files):
    finished = call(model="known.mindir", **write_inputs(files / "same", np.zeros((5, 3)), np.zeros((5, 2))))
    assert (finished.returncode, finished.stderr) == (0, "")
    assert read_text_digest(files / "out") == IDENTITY.digest()


def test_without_identity_on_one_side_there_is_a_warning(call, files):
    unknown = write_inputs(files / "unknown", np.zeros((5, 3)), np.zeros((5, 2)), None)
    finished = call(model="known.mindir", **unknown)
    assert (finished.returncode, finished.stderr) == (0, f"warning: {files}/unknown {UNKNOWN}\n")
    assert read_text_digest(files / "out") == IDENTITY.digest()
    finished = call(**write_inputs(files / "known", np.zeros((5, 3)), np.zeros((5, 2))))
    assert (finished.returncode, finished.stderr) == (0, f"warning: small.mindir {UNKNOWN}\n")
    assert read_text_digest(files / "out") is None


def test_inputs_of_other_data_are_refused_and_the_difference_is_named(refuse, files):
    other = dataclasses.replace(IDENTITY, vocabulary_sha256="ab13", dense_scales=((2.5, 0.75), (1.0, 3.0)))
    inputs = write_inputs(files / "other", np.zeros((5, 3)), np.zeros((5, 2)), other)
    digests = f"({IDENTITY.digest()[:12]} and {other.digest()[:12]})"
    refuse(
        f"known.mindir was trained on other data than {files}/other: dense_scales, vocabulary_sha256 differ {digests}",
        model="known.mindir",
        **inputs,
    )
    same = write_inputs(files / "mixed", np.zeros((5, 3)), np.zeros((5, 2)))
    refuse("was trained on other data than", model="known.mindir", ids=same["ids"], values=inputs["values"])


def test_an_id_outside_the_table_of_the_model_is_refused(refuse, files):
    ids = np.zeros((5, 3))
    ids[3, 1] = 20  # known.mindir carries the size of the vocabulary, 20
    inputs = write_inputs(files / "large", ids, np.zeros((5, 2)))
    refuse("large/00_sparse_ids/a.bin: row 4, column 2: the id 20 is not one", model="known.mindir", **inputs)


def test_inputs_that_are_not_rows_of_the_model_are_refused(refuse, files):
    write(files / "truncated" / "a.bin", np.zeros(ROW_COUNTS["a.bin"] * 12 - 1), np.int8)
    write(files / "truncated" / "b.bin", np.zeros(36), np.int8)
    refuse("truncated/a.bin holds 119 bytes; a row of the model's input has 12", ids="truncated")
    refuse("small.mindir has 2 inputs, but the number of input folders is 1", values=None)


class TwoFloats(nn.Cell):
    """A model of other types: both inputs are float32."""

    def construct(self, sparse_ids, dense_values):
        return ms.ops.add(sparse_ids, dense_values)


def test_models_that_the_runtime_cannot_run_are_refused(refuse, files, predictor):
    refuse("none.mindir: cannot be read", model="none.mindir")
    export_model(predictor, files / "new.mindir", ExportOptions("MINDIR", 4, mindir_version=3))
    refuse("new.mindir: MindSpore Lite cannot build it for --device_target=CPU (", model="new.mindir")
    refuse("export it with export.py --mindir_version=1", model="new.mindir")
    zeros = Tensor(np.zeros((4, 2), np.float32))
    ms.export(TwoFloats(), zeros, zeros, file_name=str(files / "floats"), file_format="MINDIR")
    rename_inputs_and_outputs(files / "floats.mindir", ["sparse_ids", "dense_values"], "probabilities")
    convert_to_old_version(files / "floats.mindir")
    refuse("the model's input sparse_ids does not take sparse ids, int32 [B, S]", model="floats.mindir")


def test_a_configuration_file_is_read_and_the_precision_mode_has_no_effect_on_cpu(call, files):
    (files / "lite.ini").write_text("# of Ascend\n[ascend_context]\nop_select_impl_mode=high_precision\n")
    assert call().returncode == 0
    expected = output_of(files)
    finished = call("--config_file=lite.ini", "--precision_mode=enforce_fp16")
    assert (finished.returncode, output_of(files)) == (0, expected)


def test_configuration_files_that_the_runtime_cannot_use_are_refused(refuse, files):
    refuse("--config_file=none.ini: cannot be read as a file", "--config_file=none.ini")
    (files / "text.ini").write_text("[ascend_context]\nhigh_precision\n")
    refuse("text.ini line 2: high_precision: must be [section] or key=value", "--config_file=text.ini")
    (files / "long.ini").write_text("[ascend_context]\n" + "# too many lines\n" * 200_000)
    refuse("--config_file=long.ini: MindSpore Lite refuses it (", "--config_file=long.ini")


def test_arguments_are_checked_and_listed(refuse, call):
    refuse("unknown argument --batch; --help lists the arguments", "--batch=3")
    refuse("--precision_mode=fp32: must be one of enforce_fp32, preferred_fp32, enforce_fp16,", "--precision_mode=fp32")
    finished = call("--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("usage: main --model_path=DIR")
    usage = re.findall(r"^  (--\w+) ((?:.*\n)(?:     .*\n)*)", finished.stdout, re.M)
    defaults = {name: "".join(re.findall(r"\(default: (.*)\)", text)) for name, text in usage}
    table = (ROOT / "docs" / "export.md").read_text().partition("| flag of the runner |")[2].partition("\n\n")[0]
    assert defaults == dict(re.findall(r"^\| `(--\w+)` \| `?(.*?)`? ?\| ", table, re.M))
    assert len(defaults) == 14


# Where the official package has the libraries of the wheel; all others are in runtime/lib.
OFFICIAL_FOLDERS = {
    "libmindspore_glog.so.0": "runtime/third_party/glog",
    "libdnnl.so.2": "runtime/third_party/dnnl",
    "libmindspore_converter.so": "tools/converter/lib",
    "libmslite_converter_plugin.so": "tools/converter/lib",
}


@pytest.mark.slow
def test_with_the_official_layout_the_libraries_of_all_its_folders_are_found(tmp_path):
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    download = ["bash", ROOT / "scripts" / "get_mindspore_lite.sh"]
    wheel = pathlib.Path(subprocess.check_output(download, env={**os.environ, "PATH": path}, text=True).strip())
    home, build = tmp_path / "mindspore-lite", tmp_path / "build"
    for library in (wheel / "lib").glob("*.so*"):
        folder = home / OFFICIAL_FOLDERS.get(library.name, "runtime/lib")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / library.name).symlink_to(library)
    (home / "runtime/lib/libmindspore-lite.so").symlink_to(wheel / "lib/libmindspore-extendrt_python.so")
    (home / "runtime/include").symlink_to(wheel / "include")
    (home / "runtime/third_party/securec").mkdir()  # holds a static library only
    options = (f"-DLITE_HOME={home}", "-DCMAKE_BUILD_TYPE=Debug")
    for command in (["cmake", "-S", ROOT / "ascend310_infer", "-B", build, *options], ["cmake", "--build", build]):
        subprocess.run(command, check=True, capture_output=True)
    dynamic = subprocess.check_output(["readelf", "--dynamic", build / "main"], text=True)
    [rpath] = [line for line in dynamic.splitlines() if "(RPATH)" in line]
    folders = ("runtime/lib", "tools/converter/lib", "runtime/third_party/glog", "runtime/third_party/dnnl")
    assert rpath.partition("[")[2].rstrip("]").split(":") == [str(home / folder) for folder in folders]
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    assert subprocess.check_output([build / "main", "--help"], env=environment, text=True).startswith("usage: main")
