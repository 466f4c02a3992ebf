# SPDX-License-Identifier: Apache-2.0
import functools
import os
import pathlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from mindspore.train import mind_ir_pb2

from src.common.errors import UserError
from src.deepfm import DeepFMPredict
from src.export.formats import ExportOptions, check_export_options, export_model, load_exported
from src.export.mindir import convert_to_old_version
from src.network.sums import PORTABLE
from tests.networks import make_network
from tests.odd_paths import ALL_IN_ONE

pytestmark = pytest.mark.usefixtures("cpu")


@functools.cache
def make_model(dense_count=3, list_lengths=()):
    """Return a folded predictor, inputs of 8 rows, and the probabilities of the network before it was folded."""
    network, inputs = make_network(dense_count, 4, (6, 5), list_lengths=list_lengths, target=PORTABLE)
    expected = DeepFMPredict(network)(*inputs).asnumpy()
    network.fold()
    return DeepFMPredict(network), [column.asnumpy() for column in inputs], expected


@pytest.mark.parametrize(
    ("file_format", "batch_size", "version", "model"),
    [
        ("MINDIR", 8, 3, (3,)),
        ("MINDIR", 0, 3, (3,)),
        ("MINDIR", 8, 1, (3,)),
        ("MINDIR", 8, 1, (0,)),
        ("MINDIR", 8, 1, (3, (3, 2))),
        ("MINDIR", 8, 1, (0, (1, 5, 2, 64))),
        ("MINDIR", 8, 3, (3, (3, 2))),
        ("MINDIR", 0, 3, (3, (3, 2))),
        ("ONNX", 8, 3, (3,)),
        ("ONNX", 0, 3, (3,)),
        ("ONNX", 0, 3, (0,)),
        ("ONNX", 8, 3, (3, (3, 2))),
        ("ONNX", 0, 3, (3, (3, 2))),
        ("ONNX", 0, 3, (0, (1, 1, 5, 2))),
    ],
)
def test_an_exported_file_predicts_as_the_network(tmp_path, file_format, batch_size, version, model):
    predictor, inputs, expected = make_model(*model)
    path = tmp_path / f"model.partial.{file_format.lower()}"
    export_model(predictor, path, ExportOptions(file_format, batch_size, version))
    run = load_exported(path, file_format)
    np.testing.assert_allclose(run(*inputs), expected, atol=1e-6)
    if batch_size == 0:
        np.testing.assert_allclose(run(*(column[:3] for column in inputs)), expected[:3], atol=1e-6)
    if file_format == "MINDIR":
        model = mind_ir_pb2.ModelProto()
        model.ParseFromString(pathlib.Path(path).read_bytes())
        assert model.mind_ir_version == version
        names = ["sparse_ids", "dense_values"][: len(inputs)]
        assert [node.name for node in model.graph.input] == names
        assert [node.name for node in model.graph.output] == ["probabilities"]


@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_the_folder_of_a_file_may_have_any_characters(tmp_path, file_format):
    predictor, inputs, expected = make_model()
    folder, before = tmp_path / ALL_IN_ONE, os.getcwd()
    folder.mkdir()
    path = folder / f"model.partial.{file_format.lower()}"
    export_model(predictor, path, ExportOptions(file_format, 8))
    np.testing.assert_allclose(load_exported(path, file_format)(*inputs), expected, atol=1e-6)
    assert os.getcwd() == before


METADATA = {"data_identity": "12ab", "vocabulary_size": "20", "sparse_fields": '["C1", "类别"]'}


@pytest.mark.parametrize("version", [3, 1])
def test_metadata_of_mindir_follow_the_model_and_do_not_change_what_it_predicts(tmp_path, version):
    predictor, inputs, expected = make_model()
    export_model(predictor, tmp_path / "model.mindir", ExportOptions("MINDIR", 8, version), METADATA)
    model = mind_ir_pb2.ModelProto.FromString((tmp_path / "model.mindir").read_bytes())
    assert dict(model.user_info) == METADATA
    run = load_exported(tmp_path / "model.mindir", "MINDIR")
    np.testing.assert_allclose(run(*inputs), expected, atol=1e-6)


def test_metadata_of_onnx_are_those_that_onnxruntime_shows(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    predictor, inputs, expected = make_model()
    export_model(predictor, tmp_path / "model.onnx", ExportOptions("ONNX", 0), METADATA)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_modelmeta().custom_metadata_map == METADATA
    run = load_exported(tmp_path / "model.onnx", "ONNX")
    np.testing.assert_allclose(run(*inputs), expected, atol=1e-6)


def test_an_operator_without_a_known_form_in_the_old_version_is_refused(tmp_path):
    class Sine(nn.Cell):
        def construct(self, values):
            return ops.sin(values)

    ms.export(Sine(), Tensor(np.zeros((2, 2), np.float32)), file_name=str(tmp_path / "sine"), file_format="MINDIR")
    with pytest.raises(ValueError, match="the operator Sin is not known in version 1"):
        convert_to_old_version(tmp_path / "sine.mindir")


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        (ExportOptions("AIR", 8), "CPU", "needs an Ascend machine"),
        (ExportOptions("AIR", 0), "Ascend", "AIR needs a fixed --batch_size"),
        (ExportOptions("MINDIR", 0, 1), "CPU", "--mindir_version=1 needs a fixed --batch_size"),
    ],
)
def test_options_that_a_format_does_not_have_are_refused(options, device, message):
    with pytest.raises(UserError, match=message):
        check_export_options(options, device)


@pytest.mark.parametrize(
    "options", [ExportOptions("AIR", 8), ExportOptions("MINDIR", 8, 1), ExportOptions("ONNX", 0, 1)]
)
def test_options_that_a_format_has_are_accepted(options):
    check_export_options(options, "Ascend")
