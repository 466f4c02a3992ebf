# SPDX-License-Identifier: Apache-2.0
"""The rank table of Ascend devices: which device of which node is which rank.

Format 1.0, as hccl_tools.py of the model zoo writes it: {"version": "1.0", "server_count": "1", "server_list":
[{"server_id": "10.0.0.1", "device": [{"device_id": "0", "rank_id": "0"}, ...]}, ...], "status": "completed"}.  All
values are strings; other ones, such as device_ip, have no effect.
"""

import json
import os
import pathlib
from dataclasses import dataclass

from src.common.errors import UserError

VERSION = "1.0"
DEVICE_KEYS = ("device_id", "rank_id")


@dataclass(frozen=True)
class Server:
    """A node: its address, and its devices in the order of their ranks."""

    host: str
    device_ids: tuple[int, ...]


@dataclass(frozen=True)
class RankTable:
    """The nodes of a table, each with as many devices; the ranks count the devices of the first one, then the next."""

    path: str
    servers: tuple[Server, ...]

    @property
    def devices_per_server(self) -> int:
        """The number of devices of each node."""
        return len(self.servers[0].device_ids)

    @property
    def rank_count(self) -> int:
        """The number of devices of all nodes."""
        return self.devices_per_server * len(self.servers)

    @property
    def master_host(self) -> str:
        """The address at which the ranks can meet: the first node's."""
        return self.servers[0].host if len(self.servers) > 1 else "127.0.0.1"


def read_rank_table(path: os.PathLike | str) -> RankTable:
    """Return the RankTable of a file; UserError unless it is complete, in format 1.0."""
    entries = _read_servers(path)
    servers = tuple(_read_server(path, index, entry) for index, entry in enumerate(entries))
    for index, server in enumerate(servers):
        if len(server.device_ids) != len(servers[0].device_ids):
            raise UserError(
                f"{path}: server_list[{index}] has {len(server.device_ids)} devices, server_list[0] has "
                f"{len(servers[0].device_ids)}; every node must have the same number of devices"
            )
    for index, entry in enumerate(entries):
        _check_ranks(path, index, sorted(int(device["rank_id"]) for device in entry["device"]))
    return RankTable(str(path), servers)


def _check_ranks(path: os.PathLike | str, index: int, ranks: list[int]) -> None:
    """Raise UserError unless node number `index`, of nodes with as many devices, has the ranks that are its own."""
    first = index * len(ranks)
    if ranks != list(range(first, first + len(ranks))):
        raise UserError(
            f"{path}: server_list[{index}] has the rank_ids {ranks}; they must be {first} to {first + len(ranks) - 1}"
        )


def _read_servers(path: os.PathLike | str) -> list:
    try:
        table = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"RANK_TABLE_FILE {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict) or table.get("version") != VERSION:
        raise UserError(f'{path}: "version" must be "{VERSION}"; msrun needs no rank table: leave it out')
    servers = table.get("server_list")
    if not isinstance(servers, list) or not servers or table.get("server_count") != str(len(servers)):
        raise UserError(f'{path}: "server_list" must be a list and "server_count" its length, as a string')
    if table.get("status") != "completed":
        raise UserError(f'{path}: "status" must be "completed"')
    return servers


def _read_server(path: os.PathLike | str, index: int, server: object) -> Server:
    """Return the Server of entry number `index` of server_list."""
    devices = server.get("device") if isinstance(server, dict) else None
    if not isinstance(server, dict) or not isinstance(devices, list) or not devices:
        raise UserError(f'{path}: server_list[{index}] has no list "device"')
    host = server.get("server_id")
    if not isinstance(host, str) or not host:
        raise UserError(f'{path}: server_list[{index}]: "server_id" must be a string, the address of the node')
    for number, device in enumerate(devices):
        for key in DEVICE_KEYS:
            if not isinstance(device, dict) or not isinstance(device.get(key), str):
                raise UserError(f'{path}: server_list[{index}] device[{number}]: "{key}" must be a string')
            if not device[key].isdecimal():
                raise UserError(f'{path}: server_list[{index}] device[{number}]: "{key}" must be a number in quotes')
    device_ids = tuple(
        int(device["device_id"]) for device in sorted(devices, key=lambda device: int(device["rank_id"]))
    )
    if len(set(device_ids)) != len(device_ids):
        raise UserError(f"{path}: server_list[{index}] names a device_id twice")
    return Server(host, device_ids)
