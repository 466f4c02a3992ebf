# SPDX-License-Identifier: Apache-2.0
import pytest

from src.preprocessing.cluster.plan import Layout, Plan, holds_pieces
from src.preprocessing.cluster.results import files_of, find_result, make_once, take_files
from src.preprocessing.schema import FieldSchema
from src.preprocessing.splits import KeySplits


def test_a_complete_task_is_not_repeated_and_an_interrupted_one_is(tmp_path):
    calls = []

    def work(folder):
        calls.append(folder)
        (folder / "rows").write_text("1")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"rows": 1}

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "task", work)
    assert find_result(tmp_path / "task") is None
    (tmp_path / "task" / "left by a kill").mkdir()
    assert make_once(tmp_path / "task", work) == {"rows": 1}
    assert make_once(tmp_path / "task", work) == {"rows": 1}
    assert len(calls) == 2
    assert [path.name for path in (tmp_path / "task").iterdir()] == ["complete"]
    assert (files_of(tmp_path / "task") / "rows").read_text() == "1"


def test_of_two_workers_on_the_same_task_the_first_one_counts(tmp_path):
    def slow(folder):
        (folder / "rows").write_text("slow")
        make_once(tmp_path / "task", fast)
        return "slow"

    def fast(folder):
        (folder / "rows").write_text("fast")
        return "fast"

    assert make_once(tmp_path / "task", slow) == "fast"
    assert (files_of(tmp_path / "task") / "rows").read_text() == "fast"


def test_a_task_whose_files_were_taken_is_to_be_redone(tmp_path):
    def work(folder):
        (folder / "a").write_text("1")
        return 1

    make_once(tmp_path / "task", work)
    (tmp_path / "out").mkdir()
    take_files(tmp_path / "task", ["a"], tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert find_result(tmp_path / "task") is None
    assert make_once(tmp_path / "task", work) == 1


def test_a_plan_comes_back_from_its_file_and_a_missing_one_names_the_rule(tmp_path):
    splits = KeySplits.from_ratios(2020, 0, 0)  # whose starts have 65 bits
    plan = Plan(str(tmp_path), FieldSchema(3, 4, has_label=False), splits, {"polars": "2"}, 0.5, 100, 7)
    path = plan.save()
    assert Plan.load(path) == plan
    with pytest.raises(OSError, match="all machines must share the folders of --data_path and --output_dir"):
        Plan.load(str(tmp_path / "plan-0.json"))


@pytest.mark.parametrize(
    ("rows", "memory_limit", "partitions", "bits"),
    [
        (0, 4, 1, 0),
        (125_000, 4, 1, 0),
        (125_001, 4, 1, 1),
        (2_000_000, 4, 1, 4),  # 16 ranges for a shard
        (2**26, 4, 1, 10),  # 2^26 values of 64 bytes are 4 GiB
        (2**26 + 1, 4, 2, 10),
        (4_400_000_000, 4, 66, 16),
    ],
)
def test_the_values_of_a_partition_fit_the_memory_and_a_shard_has_16_ranges(rows, memory_limit, partitions, bits):
    assert Layout.of(rows, memory_limit) == Layout(partitions, bits)


def test_parsed_pieces_are_found(tmp_path):
    assert not holds_pieces(tmp_path)
    folder = Layout(1, 3).folder
    (tmp_path / folder / "000000" / "0123").mkdir(parents=True)
    assert not holds_pieces(tmp_path)
    make_once(tmp_path / folder / "000001", lambda folder: 1)
    assert holds_pieces(tmp_path)
