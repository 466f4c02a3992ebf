# SPDX-License-Identifier: Apache-2.0
"""Preprocessing on the workers of a real Dask scheduler gives the bytes of a single process."""

import gzip
import os
import pickle
import random
import re
import sys

import pytest

from distributed import LocalCluster
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocess_data import main
from src.preprocessing.cluster.connection import Connection, connected, settings
from src.preprocessing.cluster.plan import Plan
from src.preprocessing.cluster.storage import storage_at
from src.preprocessing.cluster.versions import own_versions
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.schema import FieldSchema
from src.preprocessing.splits import KeySplits
from tests.cluster_tasks import die, run_out_of_memory
from tests.conftest import make_rows
from tests.raw_data import archive_of, data_digests

FLAGS = ("--dense_dim=3", "--slot_dim=4", "--line_per_sample=100", "--train_line_count=0", "--threshold=10")
SMALL = "--memory_limit=0.0001"  # pieces and chunks of 64 KiB, and portions of 279 rows


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with two workers."""
    with settings():
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """Let there be several shards and many ranges of keys."""
    monkeypatch.setattr("src.preprocessing.sizes.SHARD_ROWS", 1500)


def rows_of_all_kinds():
    """Return 12,000 rows: codes, then text too; 32-bit integers, then 64-bit ones too; some lines are malformed."""
    text = make_rows(12_000, 3, 4, seed=8).replace("\n1\t", "\n1\tx", 30)
    lines = text.split("\n")
    codes = [re.sub(r"\t[^\t\d-][^\t]*", "\t0a9db164", line) for line in lines[:5000]]
    wide = [line.replace("\t7\t", "\t3000000000\t") for line in lines[9000:]]
    return "\n".join([*codes, *lines[5000:9000], *wide]).encode() + b"\n\xff"


def preprocess(folder, name, content, *flags):
    """Preprocess a file with this name and content; return the digests of the result."""
    folder.mkdir()
    (folder / name).write_bytes(content)
    main([f"--data_path={folder}", *FLAGS, *flags])
    return data_digests(folder / "mindrecord")


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


IDS = "\n".join(f"{row % 2}\t{row}\t\t1\t{row % 5}\t7\t{row % 3}\t1000" for row in range(4000)).encode()


@pytest.mark.parametrize(
    ("name", "pack", "content", "flags"),
    [
        ("train.txt", bytes, rows_of_all_kinds(), ("--dense_encoding=max", "--valid_ratio=0")),
        slow("train.txt", bytes, rows_of_all_kinds(), (SMALL,)),
        slow("train.txt.gz", gzip.compress, rows_of_all_kinds(), (SMALL, "--max_vocab_size=5")),
        slow("dac.tar.gz", archive_of, rows_of_all_kinds(), (SMALL, "--test_ratio=0")),
        ("train.txt", bytes, IDS, (SMALL, "--skip_id_convert=1")),
        ("train.txt", bytes, IDS, (SMALL, "--skip_id_convert=1", "--dense_encoding=log", "--line_per_sample=7")),
    ],
)
def test_the_bytes_are_those_of_a_single_process(scheduler, tmp_path, capsys, name, pack, content, flags):
    expected = preprocess(tmp_path / "single", name, pack(content), *flags)
    capsys.readouterr()
    found = preprocess(tmp_path / "cluster", name, pack(content), *flags, f"--scheduler={scheduler}")
    assert found == expected
    assert len(found) > 10  # several shards
    assert sorted(path.name for path in (tmp_path / "cluster").iterdir()) == sorted(["mindrecord", name])
    assert re.search(r"^cluster: 2 workers on 1 machine; dashboard: http", capsys.readouterr().out, re.M)


def test_values_in_partitions_and_a_tree_of_sums_give_the_same_bytes(scheduler, tmp_path, monkeypatch):
    expected = preprocess(tmp_path / "single", "train.txt", rows_of_all_kinds(), SMALL)
    monkeypatch.setattr("src.preprocessing.cluster.cluster_stages.FAN_IN", 2)
    monkeypatch.setattr("src.preprocessing.sizes.COUNTED_VALUE_BYTES", 27)  # 3,976 values at once: 4 partitions
    assert (
        preprocess(tmp_path / "cluster", "train.txt", rows_of_all_kinds(), SMALL, f"--scheduler={scheduler}")
        == expected
    )


SHOP = """
label: click
weight: weight
integers: [visits]
floats: [price]
categories: [site]
multi_valued: {late: "|", tags: "|", none: "|"}
columns: [price, weight, site, tags, click, visits, late, none]
separator: ","
"""


def shop_rows(count):
    """Return rows whose multi-valued columns have their values from different rows on, or none at all."""
    dice = random.Random(9)
    rows = []
    for row in range(count):
        tags, late = (
            "|".join(f"t{dice.randint(0, 30)}" for _ in range(dice.randint(0, most))) for most in (3, row // 6000)
        )
        price = dice.choice(["", "0", "-0.0", repr(dice.gauss(0, 9))])
        site = f"s{dice.randint(0, 40)}"
        rows.append(f"{price},{dice.randint(1, 3)},{site},{tags},{row % 2},{dice.randint(0, 9)},{late},")
    return "\n".join(rows).encode()


def test_floats_weights_and_multi_valued_columns_give_the_same_bytes(scheduler, tmp_path):
    (tmp_path / "schema.yaml").write_text(SHOP)
    (tmp_path / "log.csv").write_bytes(shop_rows(12_000))
    files = (f"--data_path={tmp_path / 'log.csv'}", f"--schema_path={tmp_path / 'schema.yaml'}")
    flags = (*files, *FLAGS[2:], SMALL, "--dense_encoding=log+bin")
    found = {}
    for name, others in (("single", ()), ("cluster", (f"--scheduler={scheduler}",))):
        main([*flags, f"--output_dir={tmp_path / name}", *others])
        found[name] = data_digests(tmp_path / name)
    assert found["single"] == found["cluster"] and len(found["single"]) > 10
    assert list(DatasetMeta.load(tmp_path / "single").list_lengths.items()) == [("late", 1), ("tags", 3), ("none", 1)]


@pytest.mark.slow
def test_parsed_rows_in_an_object_store_give_the_same_bytes_and_are_resumed_and_removed(
    s3_server, bucket, tmp_path, monkeypatch, capsys
):
    expected = preprocess(tmp_path / "single", "train.txt", rows_of_all_kinds())
    flags = ("--workers=1", f"--spill_path={bucket.replace('obs://', 's3://')}/spill")
    with monkeypatch.context() as patch:
        patch.setattr(FeatureEncoder, "fit", fail)
        with pytest.raises(
            OSError, match=r"in the middle. The work so far is kept in s3://test-\S+/spill/deepfm-\w+: run"
        ):
            preprocess(tmp_path / "cluster", "train.txt", rows_of_all_kinds(), *flags)
    capsys.readouterr()
    s3_server.requests.clear()
    main([f"--data_path={tmp_path / 'cluster'}", *FLAGS, *flags])
    assert "some of it by an earlier run" in capsys.readouterr().out
    assert not [path for method, path in s3_server.requests if method == "PUT" and path.endswith(".rows")]
    assert data_digests(tmp_path / "cluster" / "mindrecord") == expected
    assert storage_at(bucket.replace("obs://", "s3://")).names("spill") == []


def fail(*arguments, **named):
    raise OSError("in the middle")


def test_parsed_rows_in_another_folder_give_the_same_bytes_and_another_job_has_another_folder(scheduler, tmp_path):
    expected = preprocess(tmp_path / "single", "train.txt", IDS, "--skip_id_convert=1")
    (tmp_path / "spill" / "of another job").mkdir(parents=True)
    flags = ("--skip_id_convert=1", f"--scheduler={scheduler}", f"--spill_path={tmp_path / 'spill'}")
    assert preprocess(tmp_path / "cluster", "train.txt", IDS, *flags) == expected
    assert [path.name for path in (tmp_path / "spill").iterdir()] == ["of another job"]


def test_only_small_values_pass_through_the_scheduler(scheduler, tmp_path, monkeypatch):
    sizes = []
    run_all = Connection.run

    def run(self, function, calls, done):
        def measured(index, result):
            sizes.append(len(pickle.dumps(result)))
            done(index, result)

        sizes.extend(len(pickle.dumps(call)) for call in calls)
        run_all(self, function, calls, measured)

    monkeypatch.setattr(Connection, "run", run)
    preprocess(tmp_path / "cluster", "train.txt", rows_of_all_kinds(), SMALL, f"--scheduler={scheduler}")
    assert len(sizes) > 100
    assert max(sizes) < 4000  # of 700,000 bytes of rows


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0,1,2,3,a,b,c,d\n" * 200_000,
        make_rows(3000, 3, 4, seed=8).replace("\n1\t", "\n1\tx", 60).encode(),
        make_rows(20, 3, 4, seed=1).replace("\n1\t", "\n0\t").encode(),
    ],
    ids=["empty", "unusable", "malformed", "one label"],
)
def test_mistakes_in_the_data_have_the_message_of_a_single_process(scheduler, tmp_path, content):
    messages = []
    for flags in ((), (f"--scheduler={scheduler}",)):
        with pytest.raises(UserError) as caught:
            preprocess(tmp_path / str(len(flags)), "train.txt", content, SMALL, *flags)
        messages.append(
            re.sub(r"first \d+ lines \d+", "first lines", str(caught.value).replace(f"{tmp_path}/{len(flags)}", ""))
        )
        assert not (tmp_path / str(len(flags)) / "mindrecord.partial").exists()
    assert re.sub(r"\d+ columns\)", "", messages[0]) == re.sub(r"\d+ columns\)", "", messages[1])


@pytest.fixture
def connection(scheduler):
    with connected(scheduler, 0) as connection:
        yield connection


@pytest.fixture
def plan(tmp_path):
    """The address and the name of a plan."""
    splits = KeySplits.from_ratios(1, 0.1, 0.1)
    return str(tmp_path), Plan(str(tmp_path), FieldSchema.criteo(3, 4), splits, own_versions(), 4, 100, 10).save()


def test_a_worker_without_memory_is_named_and_nothing_is_left_of_its_task(connection, plan, tmp_path):
    with pytest.raises(OSError, match=r"worker tcp://127\.0\.0\.1:\d+ on \S+ is out of memory; use fewer workers"):
        connection.run(run_out_of_memory, [(*plan, "task")], lambda *_: None)
    assert not list((tmp_path / "task").iterdir())


@pytest.mark.slow
def test_a_task_that_kills_its_workers_ends_the_job_and_the_last_worker_is_named(connection, plan):
    with pytest.raises(OSError, match=r"4 workers have died of the same task, the last one is tcp://.*out of memory"):
        connection.run(die, [(*plan, "task")], lambda *_: None)


def test_a_path_that_is_too_long_for_mindrecord_is_refused_before_the_work(scheduler, tmp_path, capsys):
    folder = tmp_path / ("x" * 200)
    rest = 500 - len(os.fsencode(folder / ".partial" / "unfinished" / "valid_input_part.mindrecord00.db"))
    out = folder / ("y" * rest)  # as long as a single process takes it
    (tmp_path / "train.txt").write_bytes(IDS)
    with pytest.raises(UserError, match="is longer than the 500 bytes that MindRecord takes"):
        main([f"--data_path={tmp_path}", f"--output_dir={out}", *FLAGS, f"--scheduler={scheduler}"])
    assert "read:" not in capsys.readouterr().out


def test_a_scheduler_that_does_not_answer_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("src.preprocessing.cluster.connection.ANSWER_SECONDS", 1)
    (tmp_path / "train.txt").write_bytes(IDS)
    for address in ("tcp://127.0.0.1:1", "127.0.0.1", "udp://127.0.0.1:1"):
        with pytest.raises(UserError, match=f"--scheduler={address}: no Dask scheduler answers .*; start one with"):
            main([f"--data_path={tmp_path}", *FLAGS, f"--scheduler={address}"])
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_without_dask_one_line_names_the_requirements(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_bytes(IDS)
    monkeypatch.setitem(sys.modules, "distributed", None)  # importing it fails
    for name in [name for name in sys.modules if name.startswith("src.preprocessing.cluster.c")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"need the package distributed: pip install -r requirements-dask\.txt"):
        main([f"--data_path={tmp_path}", *FLAGS, "--workers=2"])
