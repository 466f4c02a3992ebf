# SPDX-License-Identifier: Apache-2.0
"""The rank table of Ascend devices: which device of which machine is which rank.

Format 1.0, as hccl_tools.py of the model zoo writes it: {"version": "1.0", "server_count": "1", "server_list":
[{"server_id": "10.0.0.1", "device": [{"device_id": "0", "device_ip": "192.1.2.3", "rank_id": "0"}, ...]}, ...],
"status": "completed"}; all values are strings.
"""

import json
import pathlib

from src.common.errors import UserError

VERSION = "1.0"
DEVICE_KEYS = ("device_id", "device_ip", "rank_id")


def read_rank_table(path, machine, machine_count, device_count):
    """Return the (rank, device id) of each device of machine number `machine`, both int, in the order of the ranks.

    Raises UserError unless the table is whole and has device_count devices on each of machine_count machines.
    """
    servers = _read_servers(path)
    if len(servers) != machine_count:
        raise UserError(f"{path}: server_list has {len(servers)} machines, NODE_NUM says {machine_count}")
    ranks = []
    for place, server in enumerate(servers):
        devices = _read_devices(path, place, server)
        if len(devices) != device_count:
            raise UserError(
                f"{path}: server_list[{place}] has {len(devices)} devices, DEVICE_NUM says {device_count} a machine"
            )
        if len({device for _, device in devices}) != device_count:
            raise UserError(f"{path}: server_list[{place}] names a device_id twice")
        ranks.append(sorted(devices))
        own, first = [rank for rank, _ in ranks[-1]], place * device_count
        if own != list(range(first, first + device_count)):
            raise UserError(
                f"{path}: the rank_ids of server_list[{place}] are {own}; they must be {first} to "
                f"{first + device_count - 1}"
            )
    return ranks[machine]


def _read_servers(path):
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


def _read_devices(path, place, server):
    devices = server.get("device") if isinstance(server, dict) else None
    if not isinstance(devices, list):
        raise UserError(f'{path}: server_list[{place}] has no list "device"')
    for number, device in enumerate(devices):
        for key in DEVICE_KEYS:
            if not isinstance(device, dict) or not isinstance(device.get(key), str):
                raise UserError(f'{path}: server_list[{place}] device[{number}]: "{key}" must be a string')
        for key in ("device_id", "rank_id"):
            if not device[key].isdecimal():
                raise UserError(f'{path}: server_list[{place}] device[{number}]: "{key}" must be a number in quotes')
    return [(int(device["rank_id"]), int(device["device_id"])) for device in devices]
