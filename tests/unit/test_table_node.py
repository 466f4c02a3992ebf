# SPDX-License-Identifier: Apache-2.0
"""Rank tables against the variables of the user."""

import pytest

from src.common.errors import UserError
from src.distributed.environment import Node
from src.distributed.rank_table import read_rank_table
from src.distributed.table_node import find_devices, find_node
from tests.rank_tables import write_rank_table

OWN, OTHER = "127.0.0.1", "192.0.2.1"  # the latter is for documentation, so no host has it


@pytest.fixture
def table(tmp_path):
    """Return a function that writes a rank table of nodes with two devices at these hosts, and reads it."""
    return lambda *hosts: read_rank_table(write_rank_table(tmp_path / "t.json", [[0, 1]] * len(hosts), hosts))


@pytest.mark.parametrize(
    ("hosts", "variables", "node"),
    [
        ([OTHER], {}, Node()),  # nothing but this host can be meant
        ([OTHER, OWN], {}, Node(1, 2, OTHER)),
        ([OWN, OTHER], {"NODE_NUM": "2"}, Node(0, 2, OWN)),
        ([OWN, OWN], {"NODE_RANK": "1"}, Node(1, 2, OWN)),
        ([OTHER, OTHER], {"NODE_RANK": "1", "MASTER_PORT": "9000"}, Node(1, 2, OTHER, 9000)),
    ],
)
def test_a_node_is_found_by_its_address_unless_node_rank_tells(table, monkeypatch, capsys, hosts, variables, node):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_node(table(*hosts), 2) == node
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("hosts", "variables", "message"),
    [
        (
            [OTHER, OTHER],
            {},
            "0 of the 2 server_ids are addresses of this host; set NODE_RANK to the place of this node",
        ),
        ([OWN, OWN], {}, "2 of the 2 server_ids are addresses of this host; set NODE_RANK"),
        ([OWN, OTHER], {"NODE_RANK": "1"}, "^NODE_RANK=1: .* names this host as node 0; correct one of them"),
        ([OWN, OTHER], {"NODE_NUM": "3"}, "server_list has 2 nodes, NODE_NUM says 3"),
        ([OTHER, OWN], {"NODE_NUM": "1"}, "server_list has 2 nodes, NODE_NUM says 1"),
        ([OWN], {"NODE_NUM": "2"}, "server_list has 1 nodes, NODE_NUM says 2"),
    ],
)
def test_variables_that_contradict_the_table_are_refused(table, monkeypatch, hosts, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        find_node(table(*hosts), 2)


def test_a_table_of_another_number_of_devices_is_refused(table):
    with pytest.raises(UserError, match=r"server_list\[0\] has 2 devices, DEVICE_NUM says 8 per node"):
        find_node(table(OWN), 8)


def test_another_master_address_takes_precedence_and_is_noted(table, monkeypatch, capsys):
    monkeypatch.setenv("MASTER_ADDR", "10.9.9.9")
    assert find_node(table(OWN, OTHER), 2) == Node(0, 2, "10.9.9.9")
    assert capsys.readouterr().out.startswith(
        "note: MASTER_ADDR=10.9.9.9 takes precedence over the server_id 127.0.0.1"
    )


@pytest.mark.parametrize(
    ("device_ids", "set_by_user", "expected", "noted"),
    [
        ([4, 5], None, "4,5", ""),
        ([5, 4], None, "4,5", "note: the ranks of this node take the devices 4,5, not 5,4 as in "),
        ([4, 5], "0,1", "0,1", "note: the ranks of this node take the devices 0,1, not 4,5 as in "),
        ([4, 5], "4,5", "4,5", ""),
    ],
)
def test_devices_that_are_not_those_of_the_table_are_noted(
    tmp_path, monkeypatch, capsys, device_ids, set_by_user, expected, noted
):
    if set_by_user is not None:
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", set_by_user)
    table = read_rank_table(write_rank_table(tmp_path / "t.json", [device_ids]))
    assert find_devices(table, Node()) == {"ASCEND_RT_VISIBLE_DEVICES": expected}
    output = capsys.readouterr().out
    assert output.startswith(noted) and bool(output) == bool(noted)
