# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st
from mindspore.train import mind_ir_pb2

from src.export.model_metadata import append_metadata

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS | st.integers(100, 20_000).map(lambda length: "é" * length), max_size=5))
def test_protobuf_reads_the_entries_and_the_bytes_before_them_stay(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("metadata") / "model"
    model = mind_ir_pb2.ModelProto(ir_version="1", producer_name="someone", mind_ir_version=3)
    before = model.SerializeToString()
    path.write_bytes(before)
    append_metadata(path, entries)
    content = path.read_bytes()
    read = mind_ir_pb2.ModelProto.FromString(content)
    assert content.startswith(before)
    assert dict(read.user_info) == entries
    read.user_info.clear()
    assert read == model
