# SPDX-License-Identifier: Apache-2.0
import pytest

from src.preprocessing.cluster.plan import Layout, Plan, holds_pieces
from src.preprocessing.cluster.results import files_of, find_result, find_results, make_once, take_files
from src.preprocessing.cluster.storage import Directory
from src.preprocessing.schema import FieldSchema
from src.preprocessing.splits import KeySplits


def test_a_complete_task_is_not_repeated_and_an_interrupted_one_is(storage):
    calls = []

    def work(folder):
        calls.append(folder)
        (folder / "rows").write_text("1")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"rows": 1}

    with pytest.raises(KeyboardInterrupt):
        make_once(storage, "task", work)
    assert find_result(storage, "task") is None
    storage.write("task/left by a kill/rows", b"0")
    assert make_once(storage, "task", work) == {"rows": 1}
    assert make_once(storage, "task", work) == {"rows": 1}
    assert len(calls) == 2
    assert storage.names("task/complete") == ["result.json", "rows"]
    assert storage.read(files_of("task") + "/rows") == b"1"
    assert find_results(storage, ["other", "task", "task"]) == [None, {"rows": 1}, {"rows": 1}]


def test_what_a_killed_worker_has_left_in_a_directory_is_removed(tmp_path):
    (tmp_path / "task" / "left by a kill").mkdir(parents=True)
    make_once(Directory(str(tmp_path)), "task", lambda folder: 1)
    assert [path.name for path in (tmp_path / "task").iterdir()] == ["complete"]


def test_of_two_workers_on_the_same_task_the_content_of_one_counts(storage):
    def slow(folder):
        (folder / "rows").write_text("rows")
        make_once(storage, "task", fast)
        return "slow"

    def fast(folder):
        (folder / "rows").write_text("rows")
        return "fast"

    result = make_once(storage, "task", slow)
    assert result == find_result(storage, "task")
    assert storage.read(files_of("task") + "/rows") == b"rows"


def test_of_two_workers_that_share_a_directory_the_first_one_counts(tmp_path):
    storage = Directory(str(tmp_path))

    def slow(folder):
        (folder / "rows").write_text("slow")
        make_once(storage, "task", fast)
        return "slow"

    def fast(folder):
        (folder / "rows").write_text("fast")
        return "fast"

    assert make_once(storage, "task", slow) == "fast"
    assert storage.read(files_of("task") + "/rows") == b"fast"


def test_a_task_whose_files_were_taken_is_to_be_redone(storage, tmp_path):
    def work(folder):
        (folder / "a").write_text("1")
        return 1

    make_once(storage, "task", work)
    (tmp_path / "out").mkdir()
    take_files(storage, "task", ["a"], tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert find_result(storage, "task") is None
    assert make_once(storage, "task", work) == 1


def test_a_plan_comes_back_from_its_file_and_a_missing_one_names_the_rule(tmp_path):
    splits = KeySplits.from_ratios(2020, 0, 0)  # whose starts have 65 bits
    plan = Plan(str(tmp_path), FieldSchema.criteo(3, 4, has_label=False), splits, {"polars": "2"}, 0.5, 100, 7)
    name = plan.save()
    assert Plan.load(str(tmp_path), name) == plan
    with pytest.raises(OSError, match="all machines must reach the folders of --data_path and --spill_path"):
        Plan.load(str(tmp_path), "plan-0.json")


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


def test_parsed_pieces_are_found(storage):
    assert not holds_pieces(storage)
    folder = Layout(1, 3).folder
    storage.write(f"{folder}/000000/0123/rows", b"0")
    assert not holds_pieces(storage)
    make_once(storage, f"{folder}/000001", lambda folder: 1)
    assert holds_pieces(storage)
