# SPDX-License-Identifier: Apache-2.0
"""What a process that a rank table starts takes in its place; tests/system/test_table_start.py starts processes."""

import itertools
import os
from unittest import mock

import pytest

from src.common.errors import UserError
from src.distributed import table_start
from src.distributed.environment import Launcher, read_launcher
from src.distributed.launch import find_free_port
from src.distributed.table_start import start_as_msrun
from tests.rank_tables import write_rank_table

NAMES = ("RANK_TABLE_FILE", "ASCEND_DEVICE_ID", "ASCEND_RT_VISIBLE_DEVICES", "MS_ROLE", "MS_NODE_ID", "MS_WORKER_NUM",
         "MS_SCHED_HOST", "MS_SCHED_PORT", "DEVICE_ID")  # fmt: skip
FIRST, SECOND = "127.0.0.1", "203.0.113.2"  # this host; the latter is for documentation, so no host has it


@pytest.fixture(autouse=True)
def schedulers(monkeypatch):
    """The environments of the schedulers that would be started."""
    environments = []
    monkeypatch.setattr(table_start, "_start_scheduler", environments.append)
    return environments


def start(table, rank, count, **variables):
    """Start a rank with the variables of ModelArts; return its Launcher, and those of NAMES that it is left with."""
    platform = {"RANK_TABLE_FILE": str(table), "RANK_ID": str(rank), "RANK_SIZE": str(count), **variables}
    with mock.patch.dict(os.environ, platform):
        launcher, _ = start_as_msrun(read_launcher())
        return launcher, chosen(os.environ)


def chosen(environment):
    return {name: environment[name] for name in NAMES if name in environment}


# Worked out by hand.  The platform counts the devices of a container from 0, or gives the ids of the table: then those
# must be visible.  MindSpore takes the device of number DEVICE_ID among the visible ones.
@pytest.mark.parametrize(
    ("rank", "device", "visible", "local_rank"),
    [
        (0, "0", None, "0"),
        (1, "1", None, "1"),
        (2, "0", None, "0"),
        (2, "6", "6,7", "0"),
        (3, "1", None, "1"),
        (3, "7", "6,7", "1"),
    ],
)
def test_a_rank_of_two_nodes_takes_the_variables_of_msrun(
    tmp_path, capsys, schedulers, rank, device, visible, local_rank
):
    table = write_rank_table(tmp_path / "table.json", [[0, 1], [6, 7]], [FIRST, SECOND])
    port = str(find_free_port())
    launcher, variables = start(table, rank, 4, ASCEND_DEVICE_ID=device, MASTER_PORT=port)
    assert variables == {
        "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank), "MS_WORKER_NUM": "4", "MS_SCHED_HOST": FIRST,
        "MS_SCHED_PORT": port, "DEVICE_ID": local_rank,
        **({"ASCEND_RT_VISIBLE_DEVICES": visible} if visible else {}),
    }  # fmt: skip
    assert (launcher.kind, launcher.rank, launcher.count) == ("msrun", rank, 4)
    assert (str(launcher.scheduler), len(schedulers)) == (f"{FIRST}:{port}", int(rank == 0))
    assert capsys.readouterr().out == ""


def test_only_rank_0_starts_the_scheduler(tmp_path, schedulers):
    table, port = write_rank_table(tmp_path / "table.json", [[4, 5]]), str(find_free_port())
    for rank in range(2):
        start(table, rank, 2, ASCEND_DEVICE_ID=str(4 + rank), MASTER_PORT=port)
    assert [chosen(environment) for environment in schedulers] == [
        {"MS_ROLE": "MS_SCHED", "MS_WORKER_NUM": "2", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": port,
         "ASCEND_RT_VISIBLE_DEVICES": "4,5"}
    ]  # fmt: skip


def test_a_later_node_needs_no_address_of_this_host_and_takes_the_port_of_msrun(tmp_path):
    table = write_rank_table(tmp_path / "table.json", [[0], [0]], [SECOND, FIRST])
    launcher, _ = start(table, 1, 2, DEVICE_ID="0")
    assert str(launcher.scheduler) == f"{SECOND}:8118"


def test_another_order_of_the_devices_is_noted(tmp_path, capsys):
    table = write_rank_table(tmp_path / "table.json", [[5, 4]])
    _, variables = start(table, 1, 2, DEVICE_ID="4")
    assert (variables["ASCEND_RT_VISIBLE_DEVICES"], variables["DEVICE_ID"]) == ("4,5", "1")
    assert capsys.readouterr().out.startswith("note: the ranks of this node take the devices 4,5, not 5,4 as in ")


# Rank 1 is given device 1, which may be its id or its number in the container.  As a number, it would share the device
# with rank 0, which makes the devices 1 and 5 visible, of which it takes the first.
@pytest.mark.parametrize("nodes", [[[5, 1]], [[0, 1], [2, 1]]])
def test_ids_that_may_also_be_numbers_of_other_devices_are_refused_on_every_rank(tmp_path, nodes):
    table = write_rank_table(tmp_path / "table.json", nodes, ["127.0.0.1"] * len(nodes))
    devices = list(itertools.chain(*nodes))
    for rank, device in enumerate(devices):
        with pytest.raises(UserError) as caught:
            start(table, rank, len(devices), DEVICE_ID=str(device))
        assert str(caught.value) == (
            f"{table}: server_list[{len(nodes) - 1}] has the device_ids {nodes[-1][0]}, 1 in the order of the ranks: 1 "
            "may be an id or the number of another device in a container; let them ascend; or start the processes "
            "with msrun, in ModelArts by MA_RUN_METHOD=msrun"
        )


# Refused: where a device_id is its own place among the ranks, but not among the ascending ids.
def test_ranks_take_all_devices_of_the_table_or_the_first_ones_of_a_container(tmp_path):
    refused = []
    for device_ids in [*itertools.permutations(range(4), 2), *itertools.permutations(range(4), 3)]:
        table, ranks = write_rank_table(tmp_path / "table.json", [device_ids]), range(len(device_ids))
        try:
            by_id, by_number = ([device_of(table, rank, ids) for rank in ranks] for ids in (device_ids, ranks))
        except UserError as error:
            assert "let them ascend" in str(error)
            refused.append(device_ids)
        else:
            assert (sorted(by_id), by_number) == (sorted(device_ids), [*ranks])
    assert refused == [(2, 1), (3, 1), (0, 3, 2), (1, 3, 2), (2, 1, 3), (3, 0, 2), (3, 1, 2)]


def device_of(table, rank, ids):
    """Return the physical device that a rank takes which the platform gives the device ids[rank]."""
    variables = start(table, rank, len(ids), DEVICE_ID=str(ids[rank]), MASTER_PORT=str(find_free_port()))[1]
    visible = variables.get("ASCEND_RT_VISIBLE_DEVICES", "0,1,2,3")
    return int(visible.split(",")[int(variables["DEVICE_ID"])])


@pytest.mark.parametrize(
    ("host", "variables", "message"),
    [
        (
            "203.0.113.1",
            {},
            r"^{table}: server_list\[0\] server_id=203\.0\.113\.1: is no address of this host, which is ",
        ),
        ("none.invalid", {}, r"^{table}: server_list\[0\] server_id=none\.invalid: no such host"),
        (FIRST, {"MASTER_ADDR": "203.0.113.9"}, r"^MASTER_ADDR=203\.0\.113\.9: is no address of this host"),
        (FIRST, {"MASTER_PORT": "x"}, "^MASTER_PORT=x: must be a whole number from 1 to 65535"),
        (FIRST, {"DEVICE_ID": "3"}, "^DEVICE_ID=3: .* has device_id 0 for rank 0, which is number 0 of its node"),
        (FIRST, {"DEVICE_ID": "x"}, "^DEVICE_ID=x: must be the number of one device"),
        (FIRST, {"RANK_SIZE": "3"}, "^{table}: the nodes have 2 devices, RANK_SIZE says 3"),
    ],
)
def test_a_start_that_is_refused_names_its_cause_and_the_other_way_to_start(tmp_path, host, variables, message):
    table = write_rank_table(tmp_path / "table.json", [[0], [0]], [host, SECOND])
    with pytest.raises(UserError, match=message.replace("{table}", str(table))) as caught:
        start(table, 0, 2, **{"DEVICE_ID": "0", **variables})
    assert str(caught.value).endswith("or start the processes with msrun, in ModelArts by MA_RUN_METHOD=msrun")


def test_a_later_rank_names_an_unknown_host_as_well(tmp_path):
    table = write_rank_table(tmp_path / "table.json", [[0], [0]], ["none.invalid", FIRST])
    with pytest.raises(UserError, match=r"server_list\[0\] server_id=none\.invalid: no such host"):
        start(table, 1, 2, DEVICE_ID="0")


def test_another_launcher_is_not_taken_for_a_rank_table():
    with pytest.raises(ValueError, match="mpirun is no launcher by rank table"):
        start_as_msrun(Launcher("mpirun", 0, 2))
