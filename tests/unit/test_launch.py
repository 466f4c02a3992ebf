# SPDX-License-Identifier: Apache-2.0
"""The command lines and environments that launchers get; tests/system/test_launch.py runs them."""

import os
import pathlib
import socket

import pytest

from src.common.errors import UserError
from src.distributed.environment import Node
from src.distributed.launch import (
    SCHEDULER_LOG,
    Job,
    by_mpirun,
    by_msrun,
    create_job,
    find_free_port,
    single_process,
)
from tests.rank_tables import write_rank_table

SCRIPT = ["train.py", "--seed=2"]


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_single_process_gets_rank_0_and_its_log():
    command = single_process(Job(SCRIPT, "out/run.log", environment={"HOME": "/root"}))
    assert command.arguments == ["python", "-u", "train.py", "--seed=2"]
    assert command.environment == {"HOME": "/root", "RANK_ID": "0"}
    assert (command.output, command.rank) == (pathlib.Path("out/run.log"), 0)


def test_only_msrun_has_the_log_of_a_scheduler():
    SCHEDULER_LOG.parent.mkdir()
    SCHEDULER_LOG.write_text("waiting for processes of an earlier run")
    job = Job(SCRIPT, "log{rank}/output.log", 2)
    assert [create(job).scheduler_log for create in (single_process, by_mpirun)] == [None, None]
    assert SCHEDULER_LOG.exists()
    assert by_msrun(job).scheduler_log == SCHEDULER_LOG
    assert not SCHEDULER_LOG.exists()


@pytest.mark.parametrize(("node", "ranks"), [(Node(), [0, 1]), (Node(1, 3), [2, 3])])
def test_ranks_are_numbered_over_the_nodes_and_each_has_its_log(node, ranks):
    job = Job(SCRIPT, "log{rank}/output.log", 2, node)
    assert job.rank_count == 2 * node.count
    assert job.logs == {rank: pathlib.Path(f"log{rank}/output.log") for rank in ranks}


def test_msrun_gets_the_ranks_the_scheduler_and_the_timeout(tmp_path):
    port = find_free_port()
    (tmp_path / "log1").mkdir()
    (tmp_path / "log1" / "output.log").write_text("of an earlier run")
    job = Job(SCRIPT, "log{rank}/output.log", 2, Node(0, 2, "127.0.0.1", port), {"MS_TOPO_TIMEOUT": "30"})
    command = by_msrun(job)
    assert command.rank is None
    assert command.environment == {"MS_TOPO_TIMEOUT": "30"}
    assert command.arguments[0] == "msrun"
    assert command.arguments[-4:] == ["python", "-u", "train.py", "--seed=2"]
    assert {"--worker_num=4", "--local_worker_num=2", "--node_rank=0", "--master_addr=127.0.0.1",
            f"--master_port={port}", "--cluster_time_out=30", "--join=True"} <= set(command.arguments)  # fmt: skip
    for rank in range(2):
        log = tmp_path / f"log{rank}" / "output.log"
        assert log.parent / os.readlink(log) == tmp_path / f"log{rank}" / ".." / "msrun_log" / f"worker_{rank}.log"


@pytest.mark.parametrize(("node", "expected"), [(Node(1, 2, "192.0.2.1"), 8118), (Node(1, 2, "192.0.2.1", 9000), 9000)])
def test_a_later_node_meets_the_first_one_at_the_port_of_msrun_unless_another_is_given(node, expected):
    command = by_msrun(Job(SCRIPT, "log{rank}", 1, node))
    assert {f"--master_port={expected}", "--master_addr=192.0.2.1", "--cluster_time_out=600"} <= set(command.arguments)


def test_the_first_node_refuses_a_port_in_use_and_an_address_of_another_host():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"^MASTER_PORT={port}: another process listens at 127.0.0.1:{port}; "):
            by_msrun(Job(SCRIPT, "log{rank}", 1, Node(master_port=port)))
    with pytest.raises(UserError, match=r"^MASTER_ADDR=192\.0\.2\.1: is no address of this host"):
        by_msrun(Job(SCRIPT, "log{rank}", 1, Node(master_host="192.0.2.1")))


@pytest.mark.parametrize(
    ("host", "reason"), [("192.0.2.1", "is no address of this host"), ("a.invalid", "no such host")]
)
def test_an_unusable_server_id_is_named_unless_the_user_has_set_the_address(tmp_path, monkeypatch, host, reason):
    monkeypatch.setenv("NODE_RANK", "0")
    table = write_rank_table(tmp_path / "table.json", [[0], [0]], [host, "203.0.113.9"])
    with pytest.raises(UserError) as caught:
        by_msrun(create_job(SCRIPT, "log{rank}", 1, str(table)))
    assert str(caught.value).startswith(f"{table}: server_list[0] server_id={host}: {reason}")
    monkeypatch.setenv("MASTER_ADDR", host)
    with pytest.raises(UserError, match=f"^MASTER_ADDR={host}: {reason}"):
        by_msrun(create_job(SCRIPT, "log{rank}", 1, str(table)))


def test_a_job_without_a_rank_table_has_the_environment_without_variables_of_launchers(monkeypatch):
    for name, value in {"RANK_TABLE_FILE": "/old.json", "MS_SCHED_HOST": "10.0.0.1", "NODE_NUM": "2"}.items():
        monkeypatch.setenv(name, value)
    job = create_job(SCRIPT, "log{rank}", 4, None)
    assert (job.node, job.rank_count) == (Node(0, 2), 8)
    assert not {"RANK_TABLE_FILE", "MS_SCHED_HOST", "ASCEND_RT_VISIBLE_DEVICES"} & job.environment.keys()
    assert create_job(SCRIPT, "log", 0, None).node == Node()


# One node: the ranks meet at the loopback address.  Two nodes: this host is the second one, whose address is 127.0.0.1.
@pytest.mark.parametrize(
    ("nodes", "hosts", "expected", "devices"),
    [
        ([[3]], ["192.0.2.1"], ["1", "1", "127.0.0.1", "0"], "3"),
        ([[0, 1]], ["192.0.2.1"], ["2", "2", "127.0.0.1", "0"], "0,1"),
        ([[*range(8)]], ["127.0.0.1"], ["8", "8", "127.0.0.1", "0"], "0,1,2,3,4,5,6,7"),
        ([[6, 4]], ["127.0.0.1"], ["2", "2", "127.0.0.1", "0"], "4,6"),
        ([[0, 1], [6, 7]], ["192.0.2.1", "127.0.0.1"], ["4", "2", "192.0.2.1", "1"], "6,7"),
    ],
)
def test_a_rank_table_becomes_the_command_line_of_msrun_and_the_visible_devices(
    tmp_path, nodes, hosts, expected, devices
):
    table = write_rank_table(tmp_path / "table.json", nodes, hosts)
    command = by_msrun(create_job(SCRIPT, "log{rank}", len(nodes[0]), str(table)))
    flags = dict(argument.split("=", 1) for argument in command.arguments if argument.startswith("--"))
    names = ("--worker_num", "--local_worker_num", "--master_addr", "--node_rank")
    assert [flags[name] for name in names] == expected
    assert command.environment["ASCEND_RT_VISIBLE_DEVICES"] == devices
    assert not [text for text in [*command.arguments, *command.environment.values()] if "table.json" in text]


def test_mpirun_starts_all_ranks_with_a_log_of_their_own_and_on_one_node_only(tmp_path):
    command = by_mpirun(Job(SCRIPT, "log{rank}/output.log", 3))
    assert command.arguments[0] == "mpirun"
    assert command.arguments[command.arguments.index("-n") + 1] == "3"
    assert 'exec "$@" > log${OMPI_COMM_WORLD_RANK}/output.log 2>&1' in command.arguments
    assert command.arguments[-4:] == ["python", "-u", "train.py", "--seed=2"]
    assert command.output == pathlib.Path("log0/mpirun.log")
    assert [(tmp_path / f"log{rank}").is_dir() for rank in range(4)] == [True, True, True, False]
    with pytest.raises(UserError, match="LAUNCHER=mpirun is for one node; use msrun for several"):
        by_mpirun(Job(SCRIPT, "log{rank}", 3, Node(0, 2)))
