# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.errors import UserError
from src.distributed.rank_table import Server, read_rank_table

TWO_NODES = {
    "version": "1.0",
    "server_count": "2",
    "server_list": [
        {
            "server_id": "10.0.0.1",
            "device": [
                {"device_id": "1", "device_ip": "192.1.0.1", "rank_id": "1"},
                {"device_id": "0", "device_ip": "192.1.0.0", "rank_id": "0"},
            ],
        },
        {
            "server_id": "10.0.0.2",
            "device": [
                {"device_id": "4", "device_ip": "192.2.0.4", "rank_id": "2"},
                {"device_id": "5", "device_ip": "192.2.0.5", "rank_id": "3"},
            ],
        },
    ],
    "status": "completed",
}


def read(tmp_path, table):
    path = tmp_path / "table.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return read_rank_table(path)


def test_each_node_has_its_address_and_its_devices_in_the_order_of_their_ranks(tmp_path):
    table = read(tmp_path, TWO_NODES)
    assert table.servers == (Server("10.0.0.1", (0, 1)), Server("10.0.0.2", (4, 5)))
    assert (table.devices_per_server, table.rank_count, table.master_host) == (2, 4, "10.0.0.1")


def test_further_entries_may_be_missing(tmp_path):
    table = json.loads(json.dumps(TWO_NODES))
    for server in table["server_list"]:
        for device in server["device"]:
            del device["device_ip"]
    assert read(tmp_path, table).servers == read(tmp_path, TWO_NODES).servers


def test_the_ranks_of_a_single_node_meet_at_the_loopback_address(tmp_path):
    table = read(tmp_path, {**TWO_NODES, "server_count": "1", "server_list": TWO_NODES["server_list"][:1]})
    assert (table.rank_count, table.master_host) == (2, "127.0.0.1")


def changed(*path, to):
    """Return the table with one value changed."""
    table = json.loads(json.dumps(TWO_NODES))
    entry = table
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = to
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{", "is not JSON"),
        ("[]", '"version" must be "1.0"'),
        (changed("version", to="1.2"), '"version" must be "1.0"; msrun needs no rank table: leave it out$'),
        (changed("server_count", to=2), '"server_count" its length, as a string'),
        (changed("server_count", to="3"), '"server_count" its length, as a string'),
        (changed("server_list", to={}), '"server_list" must be a list'),
        ({**TWO_NODES, "server_list": [], "server_count": "0"}, '"server_list" must be a list'),
        (changed("server_list", 1, "server_id", to=None), r'server_list\[1\]: "server_id" must be a string'),
        (changed("status", to="initializing"), '"status" must be "completed"'),
        (changed("server_list", 1, to="10.0.0.2"), r'server_list\[1\] has no list "device"'),
        (changed("server_list", 0, "device", 1, "rank_id", to=0), r'\[0\] device\[1\]: "rank_id" must be a string'),
        (changed("server_list", 0, "device", 0, "device_id", to="one"), '"device_id" must be a number in quotes'),
        (changed("server_list", 0, "device", 0, "device_id", to="0"), r"server_list\[0\] names a device_id twice"),
        (
            changed("server_list", 1, "device", 1, "rank_id", to="4"),
            r"server_list\[1\] has the rank_ids \[2, 4\]; they must be 2 to 3",
        ),
        (
            changed("server_list", 1, "device", 1, "rank_id", to="2"),
            r"server_list\[1\] has the rank_ids \[2, 2\]; they must be 2 to 3",
        ),
        (changed("server_list", 1, "device", to=[]), r'server_list\[1\] has no list "device"'),
        (
            changed("server_list", 1, "device", to=TWO_NODES["server_list"][1]["device"][:1]),
            r"server_list\[1\] has 1 devices, server_list\[0\] has 2; every node must have the same number of devices",
        ),
    ],
)
def test_a_faulty_table_is_refused_with_the_entry_and_the_rule(tmp_path, table, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, table)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"RANK_TABLE_FILE .*none\.json: No such file"):
        read_rank_table(tmp_path / "none.json")
