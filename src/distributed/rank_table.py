# SPDX-License-Identifier: Apache-2.0
"""The rank table of Ascend devices: which device of which node is which rank.

Format 1.0, as hccl_tools.py of the model zoo writes it: {"version": "1.0", "server_count": "1", "server_list":
[{"server_id": "10.0.0.1", "device": [{"device_id": "0", "device_ip": "192.1.2.3", "rank_id": "0"}, ...]}, ...],
"status": "completed"}; all values are strings.
"""

import json
import os
import pathlib
from dataclasses import dataclass

from src.common.errors import UserError

VERSION = "1.0"
DEVICE_KEYS = ("device_id", "device_ip", "rank_id")


@dataclass(frozen=True, order=True)
class RankedDevice:
    """A device of a node, and its rank."""

    rank: int
    device_id: int


def read_rank_table(
    path: os.PathLike | str, node_rank: int, node_count: int, devices_per_node: int
) -> list[RankedDevice]:
    """Return the devices of node number `node_rank`, in the order of their ranks.

    Raises UserError unless the table is complete and has `devices_per_node` devices on each of `node_count` nodes.
    """
    servers = _read_servers(path)
    if len(servers) != node_count:
        raise UserError(f"{path}: server_list has {len(servers)} nodes, NODE_NUM says {node_count}")
    nodes = [_read_devices(path, index, server) for index, server in enumerate(servers)]
    for index, devices in enumerate(nodes):
        _check_devices(path, index, devices, devices_per_node)
    return nodes[node_rank]


def _check_devices(path: os.PathLike | str, index: int, devices: list[RankedDevice], expected_count: int) -> None:
    """Raise UserError unless node number `index` has the expected devices and ranks."""
    server, first = f"{path}: server_list[{index}]", index * expected_count
    if len(devices) != expected_count:
        raise UserError(f"{server} has {len(devices)} devices, DEVICE_NUM says {expected_count} per node")
    if len({device.device_id for device in devices}) != expected_count:
        raise UserError(f"{server} names a device_id twice")
    ranks = [device.rank for device in devices]
    if ranks != list(range(first, first + expected_count)):
        raise UserError(f"{server} has the rank_ids {ranks}; they must be {first} to {first + expected_count - 1}")


def _read_servers(path: os.PathLike | str) -> list:
    try:
        table = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"RANK_TABLE_FILE {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict) or table.get("version") != VERSION:
        raise UserError(f'{path}: "version" must be "{VERSION}"')
    servers = table.get("server_list")
    if not isinstance(servers, list) or table.get("server_count") != str(len(servers)):
        raise UserError(f'{path}: "server_list" must be a list and "server_count" its length, as a string')
    if table.get("status") != "completed":
        raise UserError(f'{path}: "status" must be "completed"')
    return servers


def _read_devices(path: os.PathLike | str, index: int, server: object) -> list[RankedDevice]:
    """Return the devices of entry number `index` of server_list, in the order of their ranks."""
    devices = server.get("device") if isinstance(server, dict) else None
    if not isinstance(devices, list):
        raise UserError(f'{path}: server_list[{index}] has no list "device"')
    for number, device in enumerate(devices):
        for key in DEVICE_KEYS:
            if not isinstance(device, dict) or not isinstance(device.get(key), str):
                raise UserError(f'{path}: server_list[{index}] device[{number}]: "{key}" must be a string')
        for key in ("device_id", "rank_id"):
            if not device[key].isdecimal():
                raise UserError(f'{path}: server_list[{index}] device[{number}]: "{key}" must be a number in quotes')
    return sorted(RankedDevice(int(device["rank_id"]), int(device["device_id"])) for device in devices)
